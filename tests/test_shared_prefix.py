"""``--marge.share_prefix`` in OpenRLHF's Actor: the same numbers, checked in the run, refused where it cannot be."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.models import Actor
from openrlhf.trainer.ppo_trainer import BasePPOTrainer
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer
from peft import LoraConfig, get_peft_model
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3_5Config,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from openrlhf_marge.host.training import shared_prefix
from openrlhf_marge.host.training.shared_prefix import SharedForward, take_saved
from openrlhf_marge.host.training.tree_batches import TreeReplayBuffer, in_sampled_order, tree_batches
from openrlhf_marge.prefix_sharing import attention
from openrlhf_marge.prefix_sharing.models import check_config, check_served
from openrlhf_marge.prefix_sharing.saved import SavedTokens

ROWS = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 7], [1, 2, 3, 4, 8, 9, 10], [1, 2, 3, 7]]
SIZES = dict(vocab_size=13, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)
SIZES |= dict(num_key_value_heads=2, initializer_range=0.5, max_position_embeddings=64)


def batch(rows=ROWS):
    """Sequences (B, L), action mask (B, L - 1) from the third token on, attention mask."""
    width = max(map(len, rows))
    sequences = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    actions = mask[:, 1:].bool().clone()
    actions[:, :2] = False
    return sequences, actions, mask


def qwen2():
    torch.manual_seed(5)
    return Qwen2ForCausalLM(Qwen2Config(**SIZES, attn_implementation="eager"))


def with_adapters():
    model = get_peft_model(qwen2(), LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"]))
    torch.nn.init.normal_(model.base_model.model.model.layers[0].self_attn.q_proj.lora_B.default.weight)
    return model


def checkpointed():
    model = qwen2()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def experts():
    torch.manual_seed(5)
    config = Qwen3MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8, head_dim=4)
    config.output_router_logits = True  # as OpenRLHF sets it
    return Qwen3MoeForCausalLM(config)


def actor_of(model, temperature=0.7):
    actor = Actor(model, temperature=temperature)
    actor.packing_samples = False  # set for models that it loads itself
    return actor.train()


def sharing(model, **kwargs):
    actor = actor_of(model, **kwargs)
    actor.forward = SharedForward(actor, model.get_base_model() if hasattr(model, "get_base_model") else model)
    return actor


def results(actor):
    """Log-probs, entropy of the actions and gradients of one training forward."""
    sequences, actions, mask = batch()
    log_probs, output = actor(sequences, actions, mask, return_output=True, return_entropy=True)
    entropy = output.entropy[:, -actions.shape[1] :] * actions
    (log_probs.square().sum() + entropy.square().sum()).backward()
    return log_probs, entropy, *(p.grad for p in actor.parameters() if p.requires_grad)


@pytest.mark.parametrize("make", [qwen2, with_adapters, checkpointed, experts])
def test_the_actor_gives_the_same_numbers(make):
    for one, other in zip(results(actor_of(make())), results(actor := sharing(make())), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
    assert actor.forward.saved == SavedTokens(given=21, distinct=10)


def test_without_gradients_the_log_probs_alone_come_back():
    actor, stock = sharing(qwen2()), actor_of(qwen2())
    sequences, actions, mask = batch()
    with torch.no_grad():
        log_probs = actor(sequences, actions[:, -3:], mask, ring_attn_group=None)
        torch.testing.assert_close(log_probs, stock(sequences, actions[:, -3:], mask), rtol=1e-3, atol=1e-4)
    assert log_probs.shape == (4, 3)


def test_rows_that_share_little_are_computed_one_by_one():
    actor, stock = sharing(qwen2()), actor_of(qwen2())
    rows = [[1, 2, 3, 4, 5, 6, 7], [8, 2, 3, 4, 5, 6, 7], [8, 3, 3]]  # 17 tokens, 16 distinct: 1.06
    for tensors in (batch(), batch(rows), batch()):
        torch.testing.assert_close(actor(*tensors), stock(*tensors), rtol=1e-3, atol=1e-4)
    assert actor.forward.saved == SavedTokens(given=21 + 17 + 21, distinct=10 + 17 + 10)
    with torch.no_grad():
        output = actor(batch()[0], attention_mask=batch()[2], return_output=True)
    assert output.logits.shape == (4, 7, 13)


def test_a_batch_without_actions_has_a_gradient_of_zero():
    actor = sharing(qwen2())
    sequences, actions, mask = batch()
    actor(sequences, torch.zeros_like(actions), mask).sum().backward()
    assert actor.model.lm_head.weight.grad.abs().max() == 0


def test_a_wrong_attention_ends_the_run_at_its_first_micro_batch(monkeypatch):
    actor = sharing(qwen2())
    grow = shared_prefix.grow

    def shifted(*args):
        forest = grow(*args)
        object.__setattr__(forest, "paths", forest.paths.roll(1))
        return forest

    monkeypatch.setattr(shared_prefix, "grow", shifted)
    sentence = (
        r"--marge.share_prefix: a log-prob of the first micro-batch is [\d.]+ nats from .*, and at most 0.001 is"
    )
    with pytest.raises(RuntimeError, match=sentence):
        actor(*batch())


def test_log_probs_that_are_no_numbers_do_not_pass_the_check():
    model = qwen2()
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(RuntimeError, match="a log-prob of the first micro-batch is nan nats"):
        sharing(model)(*batch())


@pytest.mark.parametrize("training", [True, False])
def test_the_check_compares_without_dropout_and_leaves_the_mode_as_it_was(training, monkeypatch):
    model, modes, said = qwen2(), [], []
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    monkeypatch.setattr(shared_prefix.logger, "info", said.append)
    actor = sharing(model).train(training)
    actor(*batch())
    assert modes == [False, False, training] and actor.training == training
    actor(*batch())
    assert modes[3:] == [training] and len(said) == 1  # it checks once


@pytest.mark.parametrize(("most", "n"), [(4096, 4), (0, 2)])
def test_the_check_computes_whole_rows_of_as_many_tokens_as_are_distinct(most, n, monkeypatch):
    """Of 21 tokens 10 are distinct; the first two rows have 6 + 4."""
    said = []
    monkeypatch.setattr(shared_prefix, "CHECKED_TOKENS", most)
    monkeypatch.setattr(shared_prefix.logger, "info", said.append)
    sharing(qwen2())(*batch())
    assert (
        "21 tokens of the first micro-batch are 10 distinct ones; " in said[0]
        and f"no log-prob of {n} rows" in said[0]
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MistralConfig(sliding_window=4096), "it has a sliding window of 4096 tokens"),
        (Gemma3TextConfig(num_hidden_layers=6), "it has layers of sliding_attention, and only full attention is"),
        (Qwen2Config(use_sliding_window=True, sliding_window=64, max_window_layers=0), "it has layers of sliding"),
        (Qwen3_5Config().text_config, "it has layers of linear_attention"),
        (Qwen3_5Config(), "it has layers of linear_attention"),
        (Qwen2Config(attention_dropout=0.1), "it drops attention at random"),
    ],
)
def test_models_that_cannot_share(config, reason):
    with pytest.raises(ValueError, match=f"--marge.share_prefix does not work with this model: {reason}"):
        check_config(config)


def test_models_that_can():
    for config in (MistralConfig(sliding_window=None), Qwen2Config(sliding_window=64, use_sliding_window=False)):
        check_config(config)
    with pytest.raises(ValueError, match=r"--marge.share_prefix does not work with BloomForCausalLM, which does not"):
        check_served(BloomForCausalLM(BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=2)))


def test_what_the_registry_and_the_host_must_offer():
    """An upgrade that moves one of these fails here, and does not switch the sharing off without a word."""
    assert attention.ALL_ATTENTION_FUNCTIONS[attention.NAME] is attention.attend
    taken = list(inspect.signature(Actor.forward).parameters)[1:]
    ours = list(inspect.signature(SharedForward.__call__).parameters)[1:-1]
    assert set(ours) < set(taken) and taken[:4] == ours[:4] == ["sequences", *taken[1:3], "return_output"]
    assert list(inspect.signature(NaiveReplayBuffer.setup_dynamic_batch).parameters) == ["self", "strategy"]
    assert list(inspect.signature(NaiveReplayBuffer.__init__).parameters)[1:] == [
        *("sample_batch_size", "limit", "cpu_offload", "packing_samples", "dynamic_batch")
    ]
    source = inspect.getsource(NaiveReplayBuffer)
    for name in ("indices", "sample_loss_scale", "batch_num_tokens", "global_batch_size", "optimizer_step"):
        assert f"self.dynamic_{name} = " in source
    assert list(inspect.signature(RemoteExperienceMaker.split_rollout_samples).parameters) == [
        "self",
        "rollout_samples",
    ]
    assert list(inspect.signature(BasePPOTrainer.balance_experiences).parameters)[:2] == ["self", "experiences"]
    assert "experiences = self.balance_experiences(experiences)" in inspect.getsource(BasePPOTrainer.train_step)


def one_row(ids, index):
    sequences, actions, mask = batch([ids])
    return Experience(sequences=sequences, attention_mask=mask, action_mask=actions, index=[index])


def arguments(ranks, size):
    actor = SimpleNamespace(num_nodes=1, num_gpus_per_node=ranks)
    ds = SimpleNamespace(ring_attn_size=1, tensor_parallel_size=1)
    return SimpleNamespace(actor=actor, ds=ds, train=SimpleNamespace(batch_size=size))


def test_every_training_batch_is_dealt_out_in_runs():
    """Samples 0 to 7 come in micro-batches of any order; batches of 4 on 2 ranks."""
    micro_batches = []
    for places in ([5, 1, 7], [0, 4], [2, 6, 3]):
        items = [one_row([1, 2, 3, 10 + place % 3], place) for place in places]
        for item, place in zip(items, places, strict=True):
            item.info = {"place": torch.tensor([place])}
        micro_batches.append(Experience.concat_experiences(items, pad_token_id=0))
    dealt = in_sampled_order(micro_batches, arguments(ranks=2, size=4))
    assert [e.info["place"] for e in dealt] == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_micro_batches_of_a_rollout_divide_among_the_ranks():
    samples = [one_row(row, index) for index, row in enumerate([*ROWS, [9, 9, 9], [9, 9, 8]])]
    assert tree_batches(samples, max_tokens=14, ranks=1) == [[0, 2, 1, 3, 5, 4]]
    assert tree_batches(samples, max_tokens=14, ranks=2) == [[0, 2], [1, 3, 5, 4]]
    assert tree_batches(samples, max_tokens=10, ranks=3) == [[0], [2, 1, 3], [5, 4]]


def test_an_optimizer_step_keeps_its_samples_and_normalizers_in_as_many_micro_batches_as_on_other_ranks(monkeypatch):
    """Two steps of four samples; 10 tokens hold all of the first, for which another rank needs two micro-batches."""

    def hosts(buffer, _):
        buffer.dynamic_indices, buffer.dynamic_optimizer_step = [[2, 0], [1, 3], [4, 6, 5, 7]], [0, 1, 1]
        buffer.dynamic_batch_num_tokens, buffer.dynamic_global_batch_size = [12.0, 12.0, 14.0], [8.0, 8.0, 7.0]

    monkeypatch.setattr(NaiveReplayBuffer, "setup_dynamic_batch", hosts)
    buffer = TreeReplayBuffer.like(NaiveReplayBuffer(1, dynamic_batch=True))
    rows = [*ROWS, [9, 9, 9], [9, 9, 8], [7] * 9, [7] * 8 + [6]]
    buffer.items = [one_row(row, index) for index, row in enumerate(rows)]
    across = {"max": torch.maximum, "min": torch.minimum}
    strategy = SimpleNamespace(
        args=SimpleNamespace(train=SimpleNamespace(max_tokens_per_gpu=10)),
        all_reduce=lambda counts, op: across[op](counts, torch.tensor([2, 2])),
    )
    buffer.setup_dynamic_batch(strategy)
    assert buffer.dynamic_indices == [[0], [2, 1, 3], [7, 6], [5, 4]]
    assert buffer.dynamic_sample_loss_scale == [0.25, 0.75, 0.5, 0.5]
    assert buffer.dynamic_optimizer_step == [0, 1, 0, 1]
    assert buffer.dynamic_batch_num_tokens == [12, 12, 14, 14]
    assert buffer.dynamic_global_batch_size == [8, 8, 7, 7]


def test_saved_tokens_are_of_every_rank_once_and_start_anew(monkeypatch):
    """Two data ranks of two GPUs each, which compute the same."""
    counts = [SavedTokens(21, 10), SavedTokens(21, 10), SavedTokens(7, 7), SavedTokens(7, 7)]
    workers = [SimpleNamespace(actor=SimpleNamespace(forward=SimpleNamespace(saved=saved))) for saved in counts]
    calls = [SimpleNamespace(remote=lambda method, worker=worker: method(worker)) for worker in workers]
    group = SimpleNamespace(_actor_handlers=[SimpleNamespace(__ray_call__=c) for c in calls], duplicate_actors=2)
    monkeypatch.setattr(shared_prefix, "ray", SimpleNamespace(get=list))
    assert take_saved(group) == SavedTokens(given=28, distinct=17)
    assert take_saved(group) == SavedTokens()

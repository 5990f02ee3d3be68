"""Plans: numbers computed by hand for shapes, memory, tokens, micro-batches, seconds and disk."""

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launches import launch

from openrlhf_marge import MargeConfig, State, StateGroup
from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.planning.advice import advice, tried
from openrlhf_marge.planning.batches import Passes, Rows
from openrlhf_marge.planning.by_hand import Lengths, length_factors, pilot_by_hand
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.disk import disk_of
from openrlhf_marge.planning.fitting import Observed, fitted
from openrlhf_marge.planning.machines import GIB, PRESETS, Fixed, Machine, Reached, find_machine, write_machine
from openrlhf_marge.planning.memory import Memory
from openrlhf_marge.planning.pilot import Pilot, read_pilot
from openrlhf_marge.planning.pilot_checks import ALIKE, check_pilot, check_prompt
from openrlhf_marge.planning.planner import Planner
from openrlhf_marge.planning.sampling import Sampled, engine_steps, sampled_of
from openrlhf_marge.planning.seconds import Clock
from openrlhf_marge.planning.shape import ModelShape, read_shape, shape_of
from openrlhf_marge.planning.variants import baseline_of
from openrlhf_marge.planning.visits import SampledState, SampledVisit, rows_of, stock_visit

from factories import completion, group, problem

# model_type, hidden, layers, heads, key-value heads, inner, vocabulary, tied, head_dim -> known parameters
CONFIGS = {
    "Qwen2.5-0.5B": (("qwen2", 896, 24, 14, 2, 4864, 151936, True, None), 494_032_768),
    "Qwen2-7B": (("qwen2", 3584, 28, 28, 4, 18944, 152064, False, None), 7_615_616_512),
    "Llama-3.1-8B": (("llama", 4096, 32, 32, 8, 14336, 128256, False, None), 8_030_261_248),
    "Mistral-7B-v0.1": (("mistral", 4096, 32, 32, 8, 14336, 32000, False, None), 7_241_732_096),
    "Qwen3-0.6B": (("qwen3", 1024, 28, 16, 8, 3072, 151936, True, 128), 596_049_920),
}
KEYS = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "intermediate_size", "vocab_size", "tie_word_embeddings", "head_dim",
)  # fmt: skip


def config_of(name: str) -> dict:
    return {key: value for key, value in zip(KEYS, CONFIGS[name][0], strict=True) if value is not None}


def shape(name: str = "Qwen2.5-0.5B") -> ModelShape:
    return shape_of(config_of(name), name)


def state(prompt, prefix, lengths, start=1000, trained=True) -> SampledState:
    """Completions of these lengths of a context; no two share a token."""
    ends = np.cumsum([start, *lengths])
    ids = tuple(np.arange(a, b) for a, b in pairwise(ends))
    context = np.arange(1, prompt + prefix + 1)
    return SampledState(context=context, prefix=prefix, completions=ids, trained=ids if trained else ())


def visit(*states, untrained=()) -> SampledVisit:
    return SampledVisit(problem="p", states=states, untrained=tuple(untrained))


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_that_are_known(name):
    assert shape(name).parameters == CONFIGS[name][1]


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_parameters_and_tensors_are_those_of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    sizes = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        vocab_size=100, tie_word_embeddings=kind == "llama",
    )  # fmt: skip
    config = transformers.AutoConfig.for_model(kind, **sizes)
    found = list(transformers.AutoModelForCausalLM.from_config(config).parameters())
    ours = shape_of(config.to_dict(), kind)
    assert (ours.parameters, ours.tensors) == (sum(p.numel() for p in found), len(found))


def test_biases_of_llama_are_counted():
    plain = config_of("Llama-3.1-8B")
    biased = shape_of(plain | {"attention_bias": True, "mlp_bias": True}, "x").parameters
    assert biased - shape_of(plain, "x").parameters == 32 * (4096 + 2 * 1024 + 4096 + 2 * 14336 + 4096)


def test_flops_are_two_for_each_weight_and_four_for_each_pair_and_channel():
    tiny = ModelShape(hidden=2, layers=3, queries=2, keys=1, inner=5, vocab=7)
    weights = 3 * 2 * (2 * 2 + 2 * 1 + 3 * 5)
    assert tiny.forward(10, 4, 55) == 2 * weights * 10 + 2 * 2 * 7 * 4 + 4 * 3 * 2 * 55


def test_a_config_that_is_not_there_or_not_known_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing; give .* with --config"):
        read_shape(str(tmp_path))
    with pytest.raises(ValueError, match="model_type 'mamba'"):
        shape_of({"model_type": "mamba"}, "x")
    with pytest.raises(ValueError, match="no vocab_size"):
        shape_of(config_of("Qwen2-7B") | {"vocab_size": 0}, "x")


def parts(args, phase, passes=None) -> dict[str, float]:
    memory = Memory(args=args, shape=shape(), machine=PRESETS["H100"], devices=devices_of(args))
    usages = memory.usages(passes or PASSES, passes or PASSES)
    return {p.name: p.bytes for u in usages if u.phase == phase for p in u.parts}


PASSES = Passes(per_rank=1, tokens=10, distinct=10, computed=10, logits=10, pairs=55)
N = 494_032_768


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"),
    [(1, 2 * N, 2 * N, 12 * N / 8), (2, 2 * N, 2 * N / 8, 12 * N / 8), (3, 2 * N / 8, 2 * N / 8, 12 * N / 8)],
)
def test_what_zero_divides_among_8_gpus(stage, weights, gradients, optimizer):
    found = parts(launch(ds__zero_stage=stage), "training")
    assert (found["weights"], found["gradients"], found["optimizer"]) == (weights, gradients, optimizer)


def test_offload_float32_and_adapters():
    found = parts(launch(ds__adam_offload=True), "training")
    assert (found["gradients"], found["optimizer"]) == (0, 0)
    found = parts(launch(ds__param_dtype="fp32"), "training")
    assert (found["weights"], found["optimizer"]) == (4 * N, N)  # two moments of 4 bytes, an eighth of them
    adapters = 24 * 8 * (2 * (896 + 896) + 2 * (896 + 128) + 3 * (896 + 4864))
    found = parts(launch(ds__lora=SimpleNamespace(rank=8)), "training")
    assert (found["weights"], found["optimizer"]) == (2 * N, 12 * adapters / 8)


def test_activations_and_logits_of_the_largest_micro_batch():
    per_token = 16 * 896 + 6 * 896 + 6 * 128 + 8 * 4864
    found = parts(launch(), "training")
    assert found["activations"] == 2 * 2048 * 24 * per_token  # 2 rows as long as they may be
    assert found["logits"] == 2 * 2048 * 151936 * 10
    found = parts(launch(actor__gradient_checkpointing_enable=True, train__dynamic_batch_enable=True), "training")
    assert found["activations"] == 16384 * (24 * 896 * 2 + per_token)
    found = parts(launch(ds__attn_implementation="sdpa"), "training", replace(PASSES, logits=5))
    assert found["logits"] == 2 * 2048 * 151936 * 17.5 / 2  # without flash-attn; logits where they are needed


def test_what_sleeps_leaves_its_place_and_the_reference_needs_one():
    awake = dict(train__colocate_all=True, ds__zero_stage=3)
    asleep = awake | dict(vllm__enable_sleep=True, ds__enable_sleep=True)
    assert "KV cache" in parts(launch(**awake), "training") and "KV cache" not in parts(launch(**asleep), "training")
    assert "optimizer" in parts(launch(**awake), "generation") and "optimizer" not in parts(
        launch(**asleep), "generation"
    )
    assert parts(launch(**asleep), "training")["reference's weights"] == 2 * N / 8
    own = launch(MargeConfig(), **asleep)  # the reference of the iteration is no model
    assert "reference's weights" not in parts(own, "training")


def test_the_kv_cache_is_what_an_engine_has_left():
    found = parts(launch(), "generation")
    budget = 0.6 * 79.1 * GIB
    assert found["KV cache"] == pytest.approx(budget - 2 * N - 2 * GIB)
    memory = Memory(args=launch(), shape=shape(), machine=PRESETS["H100"], devices=devices_of(launch()))
    assert memory.cached_tokens == int((budget - 2 * N - 2 * GIB) / (2 * 24 * 128 * 2))


def misfit(**changed) -> str | None:
    args = launch(**changed)
    memory = Memory(args=args, shape=shape("Llama-3.1-8B"), machine=PRESETS["A100"], devices=devices_of(args))
    return memory.misfit(memory.usages(PASSES, PASSES))


def test_what_does_not_fit_is_named():
    fits = dict(ds__zero_stage=3, actor__gradient_checkpointing_enable=True)
    assert misfit(**fits) is None
    assert misfit(**fits | dict(actor__num_gpus_per_node=1)).startswith(
        "there is no room for optimizer: the pass for log-probs takes 110.4 GiB"
    )
    assert misfit(ds__zero_stage=3, train__micro_batch_size=8).startswith("there is no room for activations: training")
    assert misfit(**fits | dict(vllm__gpu_memory_utilization=0.2)).startswith(
        "there is no room for the KV cache: --vllm.gpu_memory_utilization 0.2 of 79.2"
    )


def test_devices_that_are_shared_count_once():
    apart = devices_of(launch())
    assert (apart.policy, apart.reference, apart.critic, apart.engines, apart.total) == (8, 8, 0, 8, 24)
    assert devices_of(launch(train__colocate_actor_ref=True)).total == 16
    assert devices_of(launch(train__colocate_all=True)).total == 8
    assert devices_of(launch(train__colocate_all=True, train__async_enable=True)).total == 16
    assert devices_of(launch(MargeConfig())).total == 16  # no reference
    assert devices_of(launch(critic__model_name_or_path="m")).total == 32
    for flag, named in (("actor__num_gpus_per_node", "the policy"), ("vllm__num_engines", "vllm.num_engines")):
        with pytest.raises(ValueError, match=named):
            devices_of(launch(**{flag: 0}))
    with pytest.raises(ValueError, match=r"--marge\.replay_dir samples nothing"):
        devices_of(launch(MargeConfig(replay_dir="d")))
    with pytest.raises(ValueError, match="which no pilot tells"):
        devices_of(launch(algo__dynamic_filtering_enable=True))


def test_tokens_of_a_visit():
    of_visit = visit(state(10, 2, [5, 6]), state(10, 8, [3, 4]), untrained=[state(10, 2, [7] * 3, trained=False)])
    s = sampled_of([of_visit, visit(untrained=[state(10, 2, [1], trained=False)])], None)
    assert (s.problems, s.without_guidance, s.states, s.completions, s.trained, s.untrained) == (2, 1, 2, 4, 4, 4)
    assert (s.untrained_tokens, s.completion_tokens, s.tokens) == (22, (11, 7), 40)
    assert s.prompt_tokens == 12 + 12 + 18 + 12
    assert (s.prefill_tokens, s.cached_tokens) == (2 * 12 + 2 * 18 + 3 * 12 + 12, 0)
    # every token looks at its context, at those before it and at itself
    assert s.looked_at == sum(c * n + n * (n + 1) / 2 for c, n in
                              [(12, 5), (12, 6), (18, 3), (18, 4), (12, 7), (12, 7), (12, 7), (12, 1)])  # fmt: skip
    twice = s + s
    assert twice == s.times(2) and twice.completion_tokens == (22, 14)


def test_the_cache_has_whole_blocks_and_never_all_of_a_context():
    two = visit(state(10, 0, [5, 5]), state(10, 8, [5, 5]))
    s = sampled_of([two], 4)
    # 10 of the first, then 2 (8 cached); of 18 tokens 10 are known, so 8 cached; then 16 of 18.
    assert (s.prefill_tokens, s.cached_tokens) == (10 + 2 + 10 + 2, 8 + 8 + 16)
    exact = sampled_of([visit(state(8, 0, [5, 5]))], 4)
    assert exact.prefill_tokens == 8 + 4  # the last block is computed again, for its last token


def test_a_guidance_that_was_just_sampled_is_in_the_cache():
    candidates = SampledState(
        context=np.arange(1, 9), prefix=0, completions=(np.arange(9, 30), np.arange(50, 60)), trained=()
    )
    later = SampledState(context=np.arange(1, 21), prefix=12, completions=(np.arange(70, 75),))
    s = sampled_of([visit(later, untrained=[candidates])], 4)
    assert s.prefill_tokens == 8 + 4 + 4


def test_engine_steps():
    one = visit(state(1, 0, [5, 3, 4]))
    assert engine_steps([one], 1, 3) == 5
    assert engine_steps([one], 1, 1) == 12
    assert engine_steps([one], 1, 2) == 7  # 5 beside 3, then 4 after the 3
    after = visit(state(1, 0, [5]), untrained=[state(1, 0, [2, 6], trained=False)])
    assert engine_steps([after], 1, 8) == 11  # completions wait for the last candidate
    assert engine_steps([after], 2, 8) == 11 and engine_steps([after], 2, 1) == 26


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 10))
def test_engine_steps_are_bounded_by_work_and_by_the_longest(lengths, sequences):
    steps = engine_steps([visit(state(1, 0, lengths))], 1, sequences)
    least = max(max(lengths), -(-sum(lengths) // sequences))
    assert least <= steps <= least + max(lengths)


def rows(args, *visits, problems=1) -> Rows:
    return Rows(*rows_of(visits, problems), args)


def test_padded_packed_and_shared_rows():
    two = visit(state(10, 0, [5, 1]), state(10, 4, [2, 6]))  # rows of 15, 11, 16 and 20 tokens
    padded = rows(launch(), two).log_probs()
    assert (padded.tokens, padded.computed, padded.logits) == (62, 2 * 15 + 2 * 20, 70)
    assert padded.distinct == (10 + 6) + (14 + 8)
    packed = rows(launch(ds__packing_samples=True), two).log_probs()
    assert (packed.computed, packed.pairs) == (62, sum(n * (n + 1) / 2 for n in (15, 11, 16, 20)))
    shared = launch(MargeConfig(share_prefix=True), train__dynamic_batch_enable=True)
    all_at_once = rows(shared, two).log_probs()
    # s_0's completions share 10 tokens with the guidance, whose 4 tokens both completions of s_1 have
    assert (all_at_once.computed, all_at_once.logits) == (10 + 6 + 4 + 8, 14)
    assert all_at_once.pairs == packed.pairs - sum(n * (n + 1) / 2 for n in (10, 10, 14))
    assert padded.per_rank == 2 / 8 and all_at_once.per_rank == 1 / 8


def test_rows_that_share_little_are_all_computed():
    little = visit(state(1, 0, [20, 20]))
    shared = launch(MargeConfig(share_prefix=True), train__dynamic_batch_enable=True)
    assert rows(shared, little).log_probs().computed == 42


def test_dynamic_micro_batches_hold_so_many_tokens():
    many = visit(state(10, 0, [40] * 8))  # 8 rows of 50
    args = launch(train__dynamic_batch_enable=True, ds__packing_samples=True, rollout__max_tokens_per_gpu=100)
    found = rows(args, many).log_probs()
    assert (found.per_rank, found.computed) == (4 / 8, 400)


def test_copies_of_a_pilot_share_nothing():
    one = visit(state(10, 0, [5, 5]))
    args = launch(MargeConfig(share_prefix=True), train__dynamic_batch_enable=True, actor__num_gpus_per_node=1)
    assert rows(args, one, problems=2).log_probs().computed == 2 * 20
    more = visit(state(10, 0, [5, 5]).with_completions(4))
    assert rows(args, more).log_probs().computed == 10 + 4 * 5


def test_stock_samples_whole_responses():
    stock = stock_visit(visit(state(10, 3, [5, 7]), state(10, 8, [1])), 4)
    (only,) = stock.states
    assert (len(only.context), only.lengths, len(only.trained)) == (10, [8, 10, 8, 10], 4)


BARE = Machine(
    name="bare", memory=80 * GIB, flops=1e12, bandwidth=1e12, link=1e12, network=1e11, host_link=1e10,
    reached=Reached(log_probs=0.5, training=0.25, engine=0.5, bandwidth=0.5),
    fixed=Fixed(**dict.fromkeys(Fixed.__dataclass_fields__, 0.0)),
)  # fmt: skip


def clock(machine=BARE, **changed) -> Clock:
    args = launch(MargeConfig(), **changed)
    return Clock(args=args, shape=shape(), machine=machine, devices=devices_of(args))


def test_seconds_of_passes():
    flops = shape().forward(10, 10, 55)
    assert clock().log_probs(PASSES, 4) == pytest.approx(flops / 8 / 0.5e12)
    one = dict(actor__num_gpus_per_node=1, train__max_epochs=2)
    adam = N * 28 / 1e12
    assert clock(**one).training(PASSES, 3) == pytest.approx(2 * 3 * flops / 0.25e12 + 3 * adam)
    checkpointed = clock(**one, actor__gradient_checkpointing_enable=True)
    assert checkpointed.training(PASSES, 0) == pytest.approx(2 * 4 * flops / 0.25e12)
    fixed = replace(BARE, fixed=replace(BARE.fixed, layer=0.5, row=0.25, log_probs=2))
    assert clock(fixed).log_probs(PASSES, 4) == pytest.approx(2 + 4 * 0.25 + 24 * 0.5, abs=0.01)
    stock = launch(train__colocate_actor_ref=True)  # the reference after the policy
    twice = Clock(args=stock, shape=shape(), machine=BARE, devices=devices_of(stock))
    assert twice.log_probs(PASSES, 4) == pytest.approx(2 * clock().log_probs(PASSES, 4))


def test_zero_3_waits_for_weights_where_there_is_little_to_compute():
    fast = replace(BARE, flops=1e15)
    assert clock(fast, ds__zero_stage=3).log_probs(PASSES, 4) == pytest.approx(2 * N / 1e12)
    assert clock(fast, ds__zero_stage=3).training(PASSES, 0) == pytest.approx(3 * 2 * N / 1e12)
    far = clock(fast, ds__zero_stage=3, actor__num_nodes=2)
    assert far.log_probs(PASSES, 4) == pytest.approx(2 * N / 1e11)


def test_seconds_of_an_engine():
    few = Sampled(completion_tokens=(400.0,), looked_at=1e6, prefill_tokens=100.0)
    reading, cache = 100 * 2 * N / 0.5e12, 1e6 / 8 * (2 * 24 * 128 * 2) / 0.5e12
    decoded = shape().forward(400, 400, 1e6) / 8 / 0.5e12
    read = shape().forward(100, 0, 0) / 8 / 0.5e12
    assert reading > decoded  # few sequences: the weights bind
    assert clock().engine(few, 100) == pytest.approx(reading + cache + read)
    assert clock().engine(few, 1) == pytest.approx(max(reading / 100, decoded) + cache + read)


def test_the_slower_of_engine_and_grader_counts():
    slow = replace(BARE, fixed=replace(BARE.fixed, grading=16.0), graders=2)
    few = Sampled(completions=4, trained=4, untrained=1, completion_tokens=(8.0,))
    found = clock(slow).of(few, 1, PASSES, PASSES, 1)
    assert found.generation == found.grader == 16 * 5 / 2 > found.engine
    assert found.total == pytest.approx(found.generation + found.log_probs + found.training + found.sync)
    overlapped = clock(slow, train__async_enable=True).of(few, 1, PASSES, PASSES, 1)
    assert overlapped.total == overlapped.generation


def test_disk_is_bounded_by_the_checkpoints_that_stay():
    args = launch(MargeConfig(dump_dir="d"), ckpt__save_steps=5)
    found = disk_of(args, shape(), devices_of(args), 40, 1000, 2.0)
    assert (found.checkpoints, found.checkpoint_bytes, found.dump_bytes) == (3, 14 * N, 2000)
    assert found.total == 3 * 14 * N + 2 * N + 2000
    assert disk_of(args, shape(), devices_of(args), 9, 0, None).checkpoints == 1
    args.ckpt.save_hf = True  # OpenRLHF removes none of these
    assert disk_of(args, shape(), devices_of(args), 40, 0, None).total == 3 * 14 * N + (1 + 8) * 2 * N
    assert disk_of(launch(), shape(), devices_of(launch()), 40, 1000, None).total == 2 * N


def dumped(folder, prefix=(7,)):
    """A dump of a problem with two states of two completions and a candidate, and of one without guidance."""
    of = problem("a", prompt_ids=(1, 2, 3))
    groups = [
        StateGroup(id=i, problem=of, state=State(index=i, prefix_ids=(*prefix, *range(10, 10 + i))), n_states=2,
                   completions=(completion(1.0, (5, 0)), completion(float(i), (6, 0))))
        for i in range(2)
    ]  # fmt: skip
    candidates = [
        StateGroup(id=9 + i, problem=p, state=State(index=0, prefix_ids=prefix), n_states=1,
                   completions=(completion(0.0, (4, 4, 0)),))
        for i, p in enumerate((of, problem("b")))
    ]  # fmt: skip
    writer = DumpWriter(folder, "group_norm")
    writer.write(1, groups, candidates)
    writer.write(2, groups)
    writer.wait()
    return folder


def test_a_pilot_is_read_from_a_dump(tmp_path):
    pilot = read_pilot(dumped(tmp_path))
    one, other = pilot.first
    assert ([len(s.context) for s in one.states], [s.prefix for s in one.states]) == ([4, 5], [1, 2])
    assert [s.has_signal for s in one.states] == [True, False]
    assert [s.lengths for s in (*one.untrained, *other.untrained)] == [[3], [3]] and not other.states
    (again,) = pilot.later
    assert not again.untrained and len(again.states) == 2
    size = sum(path.stat().st_size for path in tmp_path.glob("*.parquet"))
    assert pilot.bytes_per_token == size / (8 + 6 + 8)


def test_a_pilot_of_another_model_or_of_other_flags_is_refused(tmp_path):
    pilot = read_pilot(dumped(tmp_path / "dump"))
    check_pilot(pilot, launch(MargeConfig()), 11)
    with pytest.raises(ValueError, match=r"token id 10 and .* 10 tokens, so it is of another model"):
        check_pilot(pilot, launch(MargeConfig()), 10)
    with pytest.raises(ValueError, match=r"7 tokens of prompt and response, more than --data\.max_len 6"):
        check_pilot(pilot, launch(MargeConfig(), data__max_len=6), 12)
    with pytest.raises(ValueError, match=r"with --marge\.cot_prefix, the launch is without"):
        check_pilot(pilot, launch(MargeConfig(split="tokens")), 12)
    summary = {"training_flags": ["--actor.model_name_or_path", "x/m", "--marge.n_states", "4"]}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match=r"sampled with --marge\.n_states 4, the launch has 5"):
        check_pilot(pilot, launch(MargeConfig()), 11)
    check_pilot(pilot, launch(MargeConfig(n_states=4)), 12)
    (tmp_path / "dump" / "settings.json").write_text('{"--actor.model_name_or_path": "m", "--marge.n_states": 5}')
    with pytest.raises(ValueError, match=r"sampled with --data\.max_len None, the launch has 2048"):
        check_pilot(pilot, launch(MargeConfig()), 12)
    alike = {flag: _told(launch(MargeConfig()), flag) for flag in ALIKE}
    settings = json.dumps({"--actor.model_name_or_path": "m"} | alike)
    (tmp_path / "dump" / "settings.json").write_text(settings)
    check_pilot(pilot, launch(MargeConfig()), 12)
    with pytest.raises(ValueError, match=r"sampled with --rollout\.max_new_tokens None, the launch has 9"):
        check_pilot(pilot, launch(MargeConfig(), rollout__max_new_tokens=9), 12)
    (tmp_path / "dump" / "settings.json").unlink()
    check_prompt(pilot, lambda text: [1, 2, 3])
    with pytest.raises(ValueError, match=r"whose first prompt .* encodes as other tokens"):
        check_prompt(pilot, lambda text: [1, 2, 4])
    with pytest.raises(ValueError, match=r"of --actor\.model_name_or_path x/m, the launch of y"):
        check_pilot(pilot, launch(MargeConfig(n_states=4), actor__model_name_or_path="y"), 12)


def _told(args, flag):
    group, name = flag.removeprefix("--").split(".")
    return getattr(getattr(args, group), name)


def test_a_pilot_without_completions_is_refused(tmp_path):
    writer = DumpWriter(tmp_path, "mean")
    writer.write(1, [], [group()])
    writer.wait()
    with pytest.raises(ValueError, match="no completion that is trained on"):
        read_pilot(tmp_path)


def planned(config, lengths=None, problems=100, **changed):
    args = launch(config, **changed)
    pilot = pilot_by_hand(lengths or Lengths(prompt=100, response=400, states=4.0, without_guidance=0.2), args)
    return Planner(problems=problems, shape=shape(), machine=PRESETS["H100"], pilot=pilot).plan(args)


def test_tokens_of_lengths_by_hand():
    plan = planned(MargeConfig(split="tokens", n_candidates=10), rollout__batch_size=50)
    s = plan.sampled
    assert plan.iterations == 4
    # 100 candidates for all problems, then for the 20 without guidance
    assert (s.untrained, s.without_guidance, s.completions) == (1000 + 200, 40, 2 * 80 * 4 * 2)
    means = [tokens / (2 * 80 * 2) for tokens in s.completion_tokens]
    assert means == pytest.approx([400, 300, 200, 100], rel=0.03)
    assert plan.optimizer_steps == 2 * 80 * 4 * 2 // 8


def test_grpo_beside_it_samples_from_the_prompt_alone():
    args = launch(MargeConfig(split="tokens", n_candidates=10), critic__model_name_or_path="m")
    pilot = pilot_by_hand(Lengths(prompt=100, response=400), args)
    planner = Planner(problems=10, shape=shape(), machine=PRESETS["H100"], pilot=pilot)
    stock = planner.plan(baseline_of(args))
    assert hasattr(args, "marge") and args.critic.model_name_or_path == "m"  # the launch stays as it is
    assert (stock.sampled.untrained, stock.sampled.completions) == (0, 2 * 10 * 2)
    # OpenRLHF fills whole batches of 8 in every rollout: 8, 8 and 4 completions
    assert (stock.iterations, stock.optimizer_steps) == (6, 2 * 2)
    assert stock.sampled.tokens == pytest.approx(2 * 10 * 2 * 400, rel=0.15)


def test_other_explorations_by_hand():
    vanilla = planned(MargeConfig(explore="vanilla", split="tokens"))
    assert vanilla.sampled.completions == pytest.approx(2 * (80 * 2 * 4 + 20 * 2))
    fresh = planned(MargeConfig(guidance_source="fresh", split="tokens"))
    assert fresh.sampled.untrained == 0
    assert fresh.sampled.completions == pytest.approx(2 * (80 * 2 * 4 + 20 * 2))
    frontier = planned(MargeConfig(explore="frontier", guidance_source="fresh"))
    assert 1.0 < frontier.sampled.states / frontier.sampled.problems < 1.5
    with pytest.raises(ValueError, match=r"vineppo samples what lengths alone do not tell; give a --pilot"):
        planned(MargeConfig(explore="vineppo"))


def test_lengths_must_make_sense():
    assert np.mean(length_factors()) == pytest.approx(1)
    for wrong in (dict(prompt=0), dict(response=3, s0=3), dict(states=0.5), dict(without_guidance=1.0)):
        with pytest.raises(ValueError, match="must be"):
            Lengths(**dict(prompt=10, response=20) | wrong)
    with pytest.raises(ValueError, match=r"more than --data\.max_len 2048"):
        planned(MargeConfig(), Lengths(prompt=2000, response=400))


def test_sharing_computes_the_distinct_tokens_alone():
    dynamic = dict(train__dynamic_batch_enable=True, ds__packing_samples=True, rollout__n_samples_per_prompt=8,
                   rollout__batch_size=50, train__batch_size=512)  # fmt: skip
    stock = planned(MargeConfig(split="tokens"), **dynamic)
    shared = planned(MargeConfig(split="tokens", share_prefix=True), **dynamic)
    assert stock.computed_tokens == pytest.approx(stock.trained_tokens)
    assert shared.computed_tokens == pytest.approx(shared.distinct_tokens)
    assert shared.distinct_tokens < 0.6 * shared.trained_tokens and shared.seconds.training < stock.seconds.training


def told(config, **changed) -> list[str]:
    args = launch(config, **changed)
    pilot = pilot_by_hand(Lengths(prompt=100, response=400, states=4.0, without_guidance=0.2), args)
    planner = Planner(problems=100, shape=shape(), machine=PRESETS["H100"], pilot=pilot)
    return list(advice(planner, args, planner.plan(args)))


def test_what_binds_and_what_would_help():
    many = dict(rollout__batch_size=50, train__batch_size=512, rollout__n_samples_per_prompt=8)
    said = told(MargeConfig(split="tokens", n_states=4, expected_states=3.2), **many)
    assert len(said) in (2, 3) and "bind" in said[0]
    assert said[1].startswith("the flag that would help most: --train.colocate_all --vllm.enable_sleep")
    asleep = many | dict(train__colocate_all=True, vllm__enable_sleep=True, ds__enable_sleep=True)
    padded = told(MargeConfig(split="tokens", n_states=4, expected_states=3.2), **asleep)
    assert "the flag that would help most: --train.dynamic_batch_enable" in padded[1]


def test_the_schedule_is_told_where_the_pilot_brings_other_states():
    many = dict(rollout__batch_size=50, train__batch_size=16)
    said = told(MargeConfig(split="tokens"), **many)  # counts on 5, and 4 of 80 % come
    assert said[1] == (
        "the learning-rate schedule counts on 5.00 states a problem and 125 optimizer steps, and 80 come: set "
        "--marge.expected_states 3.20"
    )
    for right in (told(MargeConfig(split="tokens", expected_states=3.2), **many),
                  told(MargeConfig(split="tokens"), actor__lr_scheduler="constant", **many)):  # fmt: skip
        assert not any("schedule" in sentence for sentence in right)


def test_only_what_can_be_given_is_tried():
    fixed = told(MargeConfig(split="tokens", guidance_rule="fixed", expected_states=3.2))
    assert not any("guidance_source" in sentence for sentence in fixed)
    window = shape_of(config_of("Mistral-7B-v0.1") | {"sliding_window": 4096}, "x")
    assert window.slides and not shape_of(config_of("Qwen2-7B") | {"use_sliding_window": False}, "x").slides
    args = launch(MargeConfig(split="tokens", expected_states=3.2), rollout__n_samples_per_prompt=8)
    pilot = pilot_by_hand(Lengths(prompt=100, response=400, states=4.0), args)
    for seen, is_tried in ((shape(), True), (window, False)):
        planner = Planner(problems=8, shape=seen, machine=PRESETS["H200"], pilot=pilot)
        assert any(c.flags == "--marge.share_prefix" for c, _ in tried(planner, args)) == is_tried


def test_the_grader_binds_where_it_is_slow():
    slow = replace(PRESETS["H100"], graders=1, fixed=replace(PRESETS["H100"].fixed, grading=5.0))
    args = launch(MargeConfig(split="tokens"))
    pilot = pilot_by_hand(Lengths(prompt=100, response=400, states=4.0), args)
    planner = Planner(problems=8, shape=shape(), machine=slow, pilot=pilot)
    assert next(advice(planner, args, planner.plan(args))).startswith("the grader binds (generation)")


def test_groups_without_signal_are_left_out_where_the_launch_says_so(tmp_path):
    pilot = read_pilot(dumped(tmp_path))
    planner = Planner(problems=4, shape=shape(), machine=PRESETS["H100"], pilot=pilot)
    whole, skipped = (
        planner.plan(launch(MargeConfig(skip_saturated=skip, n_candidates=1))).sampled for skip in (False, True)
    )
    assert skipped.completions == whole.completions and skipped.trained == whole.trained / 2


def test_a_machine_is_what_was_written(tmp_path):
    path = tmp_path / "here.json"
    write_machine(path, replace(PRESETS["H200"], name="here"))
    assert find_machine(str(path)) == replace(PRESETS["H200"], name="here")
    text = json.loads(path.read_text())
    for change, said in (
        ({"flops": 0}, "flops is 0"), ({"memory": "much"}, "not as --measure writes it"),
        ({"fixed": {"layer": -1.0}}, "layer is -1"), ({"reached": {"trainin": 1.0}}, "unknown key 'trainin'"),
    ):  # fmt: skip
        path.write_text(json.dumps(text | change))
        with pytest.raises(ValueError, match=said):
            find_machine(str(path))
    with pytest.raises(ValueError, match="B200 is none of A100, H100, H200 and no file"):
        find_machine("B200")


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_a_fit_tells_the_seconds_that_it_was_given(seed):
    rng = np.random.default_rng(seed)
    fixed = {name: float(rng.uniform(0, 1e-2)) for name in Fixed.__dataclass_fields__}
    slow = replace(
        BARE, fixed=Fixed(**fixed | dict(grading=0.0, engine_layer=0.0, sync=0.0)),
        reached=Reached(log_probs=0.3, training=0.2, engine=0.4, bandwidth=0.5),
    )  # fmt: skip
    args = launch(MargeConfig(split="tokens", n_candidates=4))
    observed = []
    for number in range(8):
        # Long and short ones, few and many, so that every cost shows.
        lengths = Lengths(prompt=100, response=int(rng.integers(100, 900)), states=1 + number % 4)
        pilot = pilot_by_hand(lengths, args)
        problems = int(rng.integers(4, 60))
        iteration = Planner(problems=problems, shape=shape(), machine=slow, pilot=pilot).iteration(
            args, pilot.first, problems
        )
        seconds = {
            phase: getattr(iteration.seconds, phase) for phase in ("generation", "log_probs", "training", "sync")
        }
        observed.append(Observed(iteration=iteration, rows=iteration.sampled.trained, seconds=seconds))
    found = fitted(observed, args, shape(), replace(BARE, reached=Reached(bandwidth=0.5)), "fit")
    again = Clock(args=args, shape=shape(), machine=found, devices=devices_of(args))
    for o in observed:
        i = o.iteration
        told = again.of(i.sampled, i.steps, i.experience, i.epoch, i.optimizer_steps)
        for phase, seconds in o.seconds.items():
            assert getattr(told, phase) == pytest.approx(seconds, rel=0.1), phase
    with pytest.raises(ValueError, match="3 iterations were measured; a machine takes at least 4"):
        fitted(observed[:3], args, shape(), BARE, "few")


def test_pilots_that_are_read_and_made_are_alike():
    assert isinstance(pilot_by_hand(Lengths(prompt=10, response=20), launch()), Pilot)

"""Host adapters on the host's real types, without engines."""

import asyncio
import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch

from openrlhf_marge import MargeConfig
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.cli import export_guidance
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.experiences import EPISODE, GROUP_ID, SEGMENT, VALUE_GAIN, WEIGHTS, with_common_logs
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.reward_client import RewardClient
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.rollout.tokens import make_problem
from openrlhf_marge.host.standalone.export_guidance import guidance_of
from openrlhf_marge.method.guidance import GuidancePool
from openrlhf_marge.rewards.returned import parse_reward
from openrlhf_marge.runs.checkpoints import CheckpointStore

from factories import completion, guidance
from host_objects import batch_of, experience_maker, experience_of, group_of


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_max_steps_count_states_and_round_down_once():
    def max_steps(*, episodes, epochs=1, **config):
        args = SimpleNamespace(
            rollout=SimpleNamespace(n_samples_per_prompt=8),
            train=SimpleNamespace(num_episodes=episodes, batch_size=1024, max_epochs=epochs),
        )
        generator = SimpleNamespace(
            args=args, prompts_dataloader=range(8500), config=MargeConfig(**config), _replay=None
        )
        return GuidedSamplesGenerator.scheduled_steps(generator)

    assert max_steps(split="tokens", episodes=1) == 332  # 8500 x 5 x 8 / 1024 = 332.03
    assert max_steps(split="tokens", episodes=10, epochs=2) == 2 * 3320
    assert max_steps(split="step", episodes=10) == 2935  # 8500 x 4.42 x 8 x 10 / 1024 = 2935.2


def test_a_problem_has_the_hosts_room_and_an_id_of_prompt_and_label(tokenizer):
    make = tokens.make_problem
    one = make(tokenizer, "1+1?", "2", 20, None)
    assert (one.prompt_ids, one.max_response_tokens) == (tokens.encode(tokenizer, "1+1?"), 20 - len(one.prompt_ids))
    assert make(tokenizer, "1+1?", "2", 20, 5).max_response_tokens == 5
    assert make(tokenizer, "1+1?", "3", 20, 5).id != one.id == make(tokenizer, "1+1?", "2", 99, None).id


def test_only_the_completion_is_action_and_the_prefix_is_context():
    big = 2**63 - 1
    experience = experience_of(group_of((1.0,), big, prefix_ids=(8, 9)))
    assert experience.sequences.tolist() == [[1, 2, 3, 8, 9, 5, 6, 0]]
    assert experience.action_mask.tolist() == [[0, 0, 0, 0, 1, 1, 1]]  # one shorter: of the predicted tokens
    assert experience.rollout_log_probs[0].tolist() == pytest.approx([0, 0, 0, 0, -0.1, -0.2, -0.3])
    assert experience.info[GROUP_ID].tolist() == [big] and experience.info[EPISODE].tolist() == [2]
    assert experience.response_length.tolist() == [3]


def test_with_prefix_credit_the_guidance_tokens_since_the_last_state_are_action():
    experience = experience_of(group_of((1.0,), 7, prefix_ids=(8, 9, 9), segment=2), credits_prefix=True)
    assert experience.action_mask.tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


def test_logs_that_only_some_completions_have_are_left_out_of_a_batch():
    """The host's batches want the same names of every sample."""

    def logged(group, *names):
        completions = [replace(c, extra_logs=tuple((n, 1.0) for n in names)) for c in group.completions]
        return replace(group, completions=tuple(completions))

    waited, new = logged(group_of([1, 0], 0), "graded", "parsed"), logged(group_of([1, 0], 1), "parsed", "late")
    groups, left_out = with_common_logs([waited, new])
    assert left_out == {"graded", "late"}
    assert {c.extra_logs for g in groups for c in g.completions} == {(("parsed", 1.0),)}
    assert batch_of(groups, [0, 2, 1, 3]).info["parsed"].tolist() == [1.0] * 4
    assert with_common_logs([waited]) == ([waited], set()) and with_common_logs([]) == ([], set())


def test_vine_gives_a_segment_once_the_difference_of_its_values():
    group = group_of((1.0, 0.0), 3, prefix_ids=(8, 9), segment=2, value_gain=-0.25)
    batch = batch_of([group], (0, 1), credits_prefix=True)
    (made,) = experience_maker(advantage="vine").compute_advantages_and_returns([batch])
    of_actions = [made.advantages[row][made.action_mask[row].bool()].tolist() for row in (0, 1)]
    assert of_actions == [[-0.25, -0.25, 0.5, 0.5, 0.5], [-0.5, -0.5, -0.5]]


def test_advantages_are_computed_by_group_id_whatever_the_order_and_size_of_groups():
    big = 2**62  # ids that a float could not tell apart
    groups = [group_of((1.0, 0.0), big + 1), group_of((1.0, 0.0, 0.0), big, prefix_ids=(8,)), group_of((1.0, 1.0), 4)]
    expected = [0.7071068, -0.7071068, 1.1547005, -0.5773503, -0.5773503, 0.0, 0.0]
    for order in itertools.islice(itertools.permutations(range(7)), 0, 5040, 500):
        (made,) = experience_maker().compute_advantages_and_returns([batch_of(groups, order)])
        for row, i in enumerate(order):
            of_actions = made.advantages[row][made.action_mask[row].bool()]
            assert of_actions.tolist() == pytest.approx([expected[i]] * 3)
        assert not {GROUP_ID, EPISODE, SEGMENT, VALUE_GAIN} & made.info.keys()


def test_a_kl_reward_is_added_per_token_as_in_the_host():
    batch = batch_of([group_of((1.0, 0.0), 1)], (0, 1))
    batch.kl = batch.action_mask.float()
    maker = experience_maker(kl_coef=0.1, reference="initial", use_loss=False)
    (made,) = maker.compute_advantages_and_returns([batch])
    assert made.advantages[0, -3:].tolist() == pytest.approx([0.7071068 - 0.3, 0.7071068 - 0.2, 0.7071068 - 0.1])


@pytest.mark.parametrize(
    ("returned", "value", "correct"),
    [
        ({"rewards": torch.tensor([1.0]), "scores": torch.tensor([1.0])}, 1.0, True),
        ({"rewards": [0.25]}, 0.25, False),
        ({"rewards": 0.4, "scores": [1.0], "extra_logs": {"x": torch.tensor([[2.0]])}}, 0.4, True),
    ],
)
def test_rewards_in_every_form_that_the_host_knows(returned, value, correct):
    reward = parse_reward(returned)
    assert (reward.value, reward.is_correct) == (value, correct)


@pytest.mark.parametrize("returned", [None, {}, {"rewards": None}, {"rewards": [1.0, 0.0]}, {"rewards": [2.0]}])
def test_a_missing_double_or_outlying_reward_is_an_error(returned):
    with pytest.raises(ValueError, match=r"returned nothing|2 numbers for one query|must lie in \[0, 1\]"):
        parse_reward(returned)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"scores": [7]}, "the score is 7.0; it must lie in [0, 1]"),
        ({"scores": float("nan")}, "the score is nan; it must lie in [0, 1]"),
        ({"scores": [-0.001]}, "the score is -0.001; it must lie in [0, 1]"),
        ({"scores": ["good"]}, "the score is 'good'; return a number"),
        ({"scores": []}, "the score is 0 numbers for one query; return one per query"),
        ({"rewards": torch.tensor(float("nan"))}, "the reward is nan; it must lie in [0, 1]"),
        ({"rewards": "much " * 99}, "the reward is 'much much much"),
        ({"extra_logs": {"x": float("nan")}}, "the number 'x' of extra_logs is nan; it must be finite, so leave it"),
        ({"extra_logs": {"a": 1, "x": [-torch.inf]}}, "the number 'x' of extra_logs is -inf; it must be finite"),
        ({"extra_logs": {"x": None}}, "the number 'x' of extra_logs is None; return a number"),
        ({"extra_logs": [1.0]}, "extra_logs is a list; it must be a dictionary of names and numbers"),
    ],
)
def test_a_score_or_log_that_is_no_such_number_is_an_error_that_names_the_function(tmp_path, more, sentence):
    with pytest.raises(ValueError) as raised:
        parse_reward({"rewards": [0.5]} | more)
    assert str(raised.value).startswith(sentence) and len(str(raised.value)) < 160
    returned = {"rewards": 0.5} | more
    path = tmp_path / "reward.py"
    path.write_text(f"from torch import inf, nan, tensor\ndef reward_func(q, p, l): return {returned!r}")
    with pytest.raises(RuntimeError, match="failed on the problem 'q' with label '2': ValueError: ") as raised:
        asyncio.run(RewardClient([str(path)]).grade("q", "2", ["a"]))
    assert str(raised.value).startswith(f"--reward.remote_url {path} ") and sentence in str(raised.value)


@pytest.mark.parametrize("score", [0, 0.5, 0.51, 1, True, torch.tensor([[1.0]])])
def test_scores_from_0_to_1_and_finite_logs_are_taken(score):
    reward = parse_reward({"rewards": 0.5, "scores": score, "extra_logs": {"length": 7, "off": torch.tensor([-3.5])}})
    assert reward.is_correct == (float(score) > 0.5)
    assert reward.extra_logs == (("length", 7.0), ("off", -3.5))


def test_a_failing_server_is_named_without_its_password(monkeypatch):
    client = RewardClient(["http://u:pa55word@127.0.0.1:9/get_reward"])

    async def refuse(*_):
        raise ConnectionError("refused")

    monkeypatch.setattr(client._executor, "_fetch_rewards_via_http", refuse)
    with pytest.raises(RuntimeError, match=r"--reward.remote_url http://\*\*\*@127.0.0.1:9/get_reward failed on"):
        asyncio.run(client.grade("q", "2", ["a"]))


def test_a_failing_reward_function_is_named_with_its_problem(tmp_path):
    path = tmp_path / "reward.py"
    path.write_text("def reward_func(q, p, l): raise KeyError('gone')")
    with pytest.raises(RuntimeError, match=f"{path} failed on the problem 'q' with label '2': KeyError: 'gone'"):
        asyncio.run(RewardClient([str(path)]).grade("q", "2", ["a"]))


@pytest.mark.parametrize(("rate", "found"), [(None, (1, 2)), (0.125, (1, 2)), (0.75, (3,))])
def test_of_several_guidances_of_a_problem_one_is_exported(rate, found):
    pool = GuidancePool()
    pool.set("p", [guidance((3,), correct=False), guidance((1, 2)), guidance((4,))])
    if rate is not None:
        pool.set_pass_rate("p", rate)
    assert guidance_of(pool, "p").token_ids == found
    assert guidance_of(pool, "q") is None


def test_guidance_of_a_run_with_an_input_template_is_found_again(tmp_path, capsys):
    build_tokenizer().save_pretrained(tmp_path / "model")
    pool, store = GuidancePool(), CheckpointStore(tmp_path / "checkpoints" / "_marge")
    text = "Step 1: 1 , 2 ."  # spaces that a clean-up of the decoded text would take away
    ids = tokens.encode(build_tokenizer(), text)
    identity = tokens.problem_id("Q: 1+1? \\boxed{}", "2")
    pool.visit(identity)
    pool.set(identity, [guidance(ids)])
    store.write_state(1, RolloutRecord(pool=pool.state_dict(), waiting=(), rollouts=1, episode=0))
    store.commit("global_step1", 1, {"global_step1"})
    (tmp_path / "data.jsonl").write_text(json.dumps({"input": "1+1?", "label": "2"}))
    flags = ["--ckpt_path", tmp_path / "checkpoints", "--model", tmp_path / "model", "--data", tmp_path / "data.jsonl"]
    flags = [*map(str, flags), "--out", str(tmp_path / "out.jsonl")]
    assert export_guidance.main([*flags, "--input_template", r"Q: {} \boxed{{}}"]) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"query": "1+1?", "guidance hit": text, "gt": "2"}
    assert export_guidance.main(flags) == 2
    assert "give --input_key, --label_key, --input_template and --no_chat_template as the run had them" in (
        capsys.readouterr().err
    )


def test_the_score_is_the_verdict_and_the_weights_those_of_the_first_token():
    half = replace(
        group_of([0.25], 1),
        completions=(completion(0.25, ids=(5, 6, 0), log_probs=(-0.1,) * 3, weight_versions=(3, 4)),),
    )
    made = experience_of(half)
    assert made.info[WEIGHTS].tolist() == [3] and made.scores.tolist() == [0.0] and made.rewards.tolist() == [0.25]


def test_the_room_is_the_smaller_of_both_limits(tokenizer):
    of = [make_problem(tokenizer, "What is 3+4?", "7", 40, new).max_response_tokens for new in (None, 5, 1000)]
    assert of[1] == 5 and of[0] == of[2] < 40

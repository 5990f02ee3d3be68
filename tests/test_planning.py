"""Plans of whole runs: from pilots and from lengths by hand, their advice, and machines that were measured."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlhf_marge import MargeConfig, State, StateGroup
from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.method.presets import PRESETS as PRESETS_OF
from openrlhf_marge.planning.advice import advice, tried
from openrlhf_marge.planning.by_hand import Lengths, length_factors, pilot_by_hand
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.fitting import Observed, fitted
from openrlhf_marge.planning.iteration import iteration_of
from openrlhf_marge.planning.machines import PRESETS, Fixed, Reached, find_machine, write_machine
from openrlhf_marge.planning.pilot import read_pilot
from openrlhf_marge.planning.pilot_checks import ALIKE, check_flags, check_pilot, check_prompt
from openrlhf_marge.planning.planner import Planner
from openrlhf_marge.planning.seconds import Clock
from openrlhf_marge.planning.shape import shape_of
from openrlhf_marge.planning.variants import adapted, baseline_of

from factories import completion, group, problem
from planned_launches import BARE, config_of, launch, shape, state, visit


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
        for i, p in enumerate((of, problem("b", prompt_ids=(1, 2, 3))))
    ]  # fmt: skip
    writer = DumpWriter(folder, "group_norm")
    writer.write(1, groups, candidates)
    writer.write(2, groups)
    writer.wait()
    return folder


def test_a_pilot_is_read_from_a_dump(tmp_path):
    pilot = read_pilot(dumped(tmp_path))
    one, other = sorted(pilot.first, key=lambda visit: visit.problem)
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
    stock = planner.plan(baseline_of(args, ["--vllm.enable_prefix_caching"]))
    assert hasattr(args, "marge") and args.critic.model_name_or_path == "m"  # the launch stays as it is
    # The cache that MARGE sets is no flag of the launch without it.
    assert stock.sampled.cached_tokens > 0 == planner.plan(baseline_of(args, ["--marge.split"])).sampled.cached_tokens
    assert (stock.sampled.untrained, stock.sampled.completions) == (0, 2 * 10 * 2)
    # OpenRLHF fills whole batches of 8 in every rollout: 8, 8 and 4 completions
    assert (stock.iterations, stock.optimizer_steps) == (6, 2 * 2)
    assert stock.sampled.tokens == pytest.approx(2 * 10 * 2 * 400, rel=0.15)


def test_other_explorations_by_hand():
    vanilla = planned(MargeConfig(explore="vanilla", split="tokens"))
    assert vanilla.sampled.completions == pytest.approx(2 * (80 * 2 * 4 + 20 * 2))
    # For equal tokens half of the three states after s_0 count: 2 + 3 completions.
    matched = planned(MargeConfig(explore="vanilla", split="tokens", vanilla_match="tokens"))
    assert matched.sampled.completions == pytest.approx(2 * (80 * 5 + 20 * 2))
    fresh = planned(MargeConfig(guidance_source="fresh", split="tokens"))
    assert fresh.sampled.untrained == 0
    assert fresh.sampled.completions == pytest.approx(2 * (80 * 2 * 4 + 20 * 2))
    frontier = planned(MargeConfig(explore="frontier", guidance_source="fresh"))
    assert 1.0 < frontier.sampled.states / frontier.sampled.problems < 1.5
    with pytest.raises(ValueError, match=r"vineppo samples what lengths alone do not tell; give a --pilot"):
        planned(MargeConfig(explore="vineppo"))


@pytest.mark.parametrize(("response", "max_len"), [(400, 512), (330, 2048), (500, 520), (412, 512)])
def test_a_mean_given_by_hand_is_that_of_responses_as_the_limit_cuts_them(response, max_len):
    plan = planned(MargeConfig(split="tokens", explore="vanilla", guidance_source="fresh"),
                   Lengths(prompt=100, response=response), rollout__n_samples_per_prompt=8, data__max_len=max_len + 100
                   )  # fmt: skip
    assert plan.sampled.tokens / plan.sampled.completions == pytest.approx(min(response, max_len), rel=0.005)


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


def told(config, assumed=False, saturated=False, **changed) -> list[str]:
    args = launch(config, **changed)
    pilot = pilot_by_hand(Lengths(prompt=100, response=400, states=4.0, without_guidance=0.2), args)
    first = [replace(v, states=tuple(replace(s, has_signal=i % 2 == 0) for i, s in enumerate(v.states)))
             if saturated else v for v in pilot.first]  # fmt: skip
    pilot = replace(pilot, first=tuple(first), is_assumed=assumed)
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
    skipping = MargeConfig(split="tokens", expected_states=3.2, skip_saturated=True)
    for right in (told(MargeConfig(split="tokens", expected_states=3.2), **many),
                  told(skipping, saturated=True, **many),  # what is skipped moves the schedule on
                  told(MargeConfig(split="tokens"), assumed=True, **many),  # of assumed lengths nothing is concluded
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


def test_a_state_whose_guidance_tokens_are_credited_is_not_skipped():
    equal = replace(state(10, 2, [5, 5]), has_signal=False)
    credited = visit(state(10, 0, [5, 5]), replace(equal, has_credit=True), equal)
    for config, trained in (
        (MargeConfig(skip_saturated=True), 2),
        (MargeConfig(skip_saturated=True, advantage="vine"), 4),
    ):
        assert len(adapted(credited, launch(config)).rows) == trained


@pytest.mark.parametrize(
    ("told", "config", "said"),
    [
        ("--marge.explore vineppo --marge.vine_samples 3", dict(explore="vineppo"),
         "--marge.vine_samples 3, the launch has 9"),
        ("--marge.explore vineppo", dict(explore="vineppo", vine_samples=3),
         "--marge.vine_samples 9, the launch has 3"),
        ("--marge.explore tree_rl --marge.tree_chains 3", dict(explore="tree_rl"),
         "--marge.tree_chains 3, the launch has 6"),
        ("--marge.explore spo_tree --marge.spo_branches 4 4", dict(explore="spo_tree"),
         "--marge.spo_branches 4 4, the launch has 6 6 6"),
        ("--marge.preset frontier --rollout.n_samples_per_prompt 8", PRESETS_OF["frontier"],
         "--rollout.n_samples_per_prompt 8, the launch has 4"),
        ("--marge.preset frontier --marge.frontier_probe 0 --rollout.n_samples_per_prompt 4", PRESETS_OF["frontier"],
         "--marge.frontier_probe 0, the launch has 2"),
        ("--rollout.temperature 0.8", {}, "--rollout.temperature 0.8, the launch has 1.0"),
        ("--marge.preset frontier --rollout.n_samples_per_prompt 4", PRESETS_OF["frontier"], None),
        ("--marge.explore spo_tree --rollout.n_samples_per_prompt 8", dict(explore="spo_tree"), None),
        ("--rollout.n_samples_per_prompt 8 --rollout.temperature 1 --marge.n_candidates 4", {}, None),
    ],
)  # fmt: skip
def test_a_run_with_other_numbers_is_no_pilot(tmp_path, told, config, said):
    flags = ["--actor.model_name_or_path", "m", *told.split()]
    (tmp_path / "summary.json").write_text(json.dumps({"training_flags": flags}))
    args = launch(MargeConfig(**config), rollout__n_samples_per_prompt=4)
    if said is None:
        return check_flags(tmp_path / "dump", args)
    with pytest.raises(ValueError, match=re.escape(f"sampled with {said}; give a pilot")):
        check_flags(tmp_path / "dump", args)


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
        iteration = iteration_of(args, shape(), slow, pilot.first, problems)
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

"""What a rollout tells of a run that goes wrong, and how often."""

import asyncio
from dataclasses import replace

import pytest

from openrlhf_marge import MargeConfig
from openrlhf_marge.method.advice import Advice

from factories import EOS, ScriptedModel, completion, explorer, group, problem

NO_PLAN = None


def advice(planned_steps=NO_PLAN, **config):
    """Of a run with 2 completions a state."""
    return Advice(MargeConfig(**config), str, 2, planned_steps)


def varied(number=0, n=2):
    """A group whose completions differ, as those of a policy that explores."""
    completions = tuple(completion(float(i % 2), ids=(5 + i, EOS)) for i in range(n))
    return replace(group(number), completions=completions)


def unguided():
    chain = explorer(ScriptedModel(lambda p, prefix, n: [completion(0.0)] * n))
    return asyncio.run(chain.explore(problem()))


def test_every_rollout_without_groups_is_told():
    run = advice()
    for rollout in (1, 2):
        assert run.after(rollout, [], [], 4) == [
            f"Rollout {rollout} brings nothing to train on: none of its 4 problems has guidance and room; look at the "
            "problems' difficulty (train/marge/pass_rate), at the grader and at --rollout.n_samples_per_prompt"
        ]


def test_the_first_rollout_with_groups_is_held_to_the_plan_and_no_later_one():
    run = advice(100, split="tokens", n_states=5)
    groups = [varied(i) for i in range(6)]  # of two problems that brought none, four did
    assert len(run.after(1, [], [], 4)) == 1
    (said,) = run.after(2, [], groups, 4)
    assert said.startswith("The first rollout brought 1.50 states a problem")
    assert "counts on 5.00: it is planned for 100 optimizer steps, about 30 come" in said
    assert run.after(3, [], groups, 4) == []


def test_a_plan_that_holds_is_not_looked_at_again():
    run = advice(100, split="tokens", n_states=5)
    assert run.after(1, [], [varied(i) for i in range(20)], 4) == []
    assert run.after(2, [], [varied(i) for i in range(6)], 4) == []


def test_completions_count_where_groups_differ_in_size():
    """Vanilla exploration brings one group a problem, with the completions of all states."""
    run = advice(100, split="tokens", n_states=5, explore="vanilla")
    assert run.after(1, [], [varied(i, 10) for i in range(4)], 4) == []


def test_without_a_plan_none_is_missed():
    assert advice(NO_PLAN, split="tokens", n_states=5).after(1, [], [varied()], 4) == []


def test_why_guidance_was_not_found_is_told_by_the_first_rollout_in_which_it_happens():
    run = advice()
    assert run.after(1, [], [varied()], 1) == []
    (said,) = run.after(2, [unguided()], [varied()], 1)
    assert said.startswith("1 of 1 problems found no response that could guide")
    assert run.after(3, [unguided()], [varied()], 1) == []


def test_a_collapse_is_told_once():
    run, same = advice(), group(0, (1.0, 0.0) * 6)
    assert run.after(2, [], [varied(n=12)], 1) == []
    assert run.after(3, [], [same], 1)[0].startswith("100% of the completions are the same as another one")
    assert run.after(4, [], [same], 1) == []


@pytest.mark.parametrize(("rollout", "told"), [(1, True), (2, False)])
def test_the_preset_is_told_after_the_first_rollout_alone(rollout, told):
    """A resumed run goes on with a later one."""
    said = advice().after(rollout, [unguided()], [varied()], 1)
    assert any("the map (examples/map)" in sentence for sentence in said) == told

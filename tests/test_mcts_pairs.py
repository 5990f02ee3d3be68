"""Pairs of a tree search's steps, from the search to what OpenRLHF reads of them."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import completion, searched
from test_dpo_rows import reward_dataset

from openrlhf_marge import State
from openrlhf_marge.cli.build_pairs import main
from openrlhf_marge.method.search import step_of
from openrlhf_marge.models import generation_eos_ids
from openrlhf_marge.pairs import PairSettings
from openrlhf_marge.pairs.mcts import SearchedResponses, SearchedSteps, label_smoothing, whole_response
from openrlhf_marge.pairs.searched import MOST_PAIRS, Searched, contrasts
from openrlhf_marge.seeds import generator

from scripted_dumps import mixed, save_model, tokenizer, visit, write_dump

RIGHT, WRONG = " 8+1=9\n\nThe answer is: \\boxed{9}.", " 9+1=10\n\nThe answer is: \\boxed{10}."
SETTINGS = PairSettings(eos_id=tokenizer().eos_token_id)


def known(state, n):
    """After " 7" three of four are right, after " 6" one; at the second step " 8" is right and " 5" is not."""
    if not state:
        return [(f" 7\nStep 2: 8\nStep 3:{RIGHT}", 1.0), (f" 6\nStep 2: 5\nStep 3:{WRONG}", 0.0)] * 2
    if state == " 7\nStep 2:":
        return [(f" 8\nStep 3:{RIGHT}", 1.0), (f" 5\nStep 3:{WRONG}", 0.0), (" 4.", 1.0), (" 3.", 1.0)]
    if state == " 6\nStep 2:":
        return [(" 2.", 0.0), (" 1.", 0.0), (f" 1\nStep 3:{RIGHT}", 1.0), (" 0.", 0.0)]
    return [(RIGHT if " 8" in state else WRONG, float(" 8" in state))] * n


def drafts(groups, **settings):
    left_out = Counter()
    found = list(SearchedResponses().drafts(tuple(groups), replace(SETTINGS, **settings), left_out))
    return found, left_out


def text(ids):
    return tokenizer().decode(ids)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def build(tmp_path, model, capsys):
    """Rows of a kind, and what was printed."""

    def run(kind, groups, stop=()):
        generation_eos_ids.cache_clear()
        dump = write_dump(tmp_path / "dump", groups, stop=stop)
        status = main([str(dump), "--kind", kind, "--model", model, "--out", str(tmp_path / "rows.jsonl")])
        said = capsys.readouterr()
        if status:
            return status, said.err
        return [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()], said.out

    return run


def test_the_best_and_the_worst_step_of_each_depth_go_on_to_the_end(build):
    rows, _ = build("mcts", searched(known, mcts_depth=2))
    assert [(r["prompt"].partition("Step 1:")[2], r["value"]) for r in rows] == [("", 0.5), (" 7\nStep 2:", 0.75)]
    end = tokenizer().eos_token
    assert rows[0]["chosen"] == f" 7\nStep 2: 8\nStep 3:{RIGHT}{end}"
    # " 2." and " 1." are the steps after " 6"; both are wrong, and the first was gone to more often.
    assert rows[0]["rejected"] == f" 6\nStep 2: 2.{end}"
    assert (rows[1]["chosen"], rows[1]["rejected"]) == (f" 8\nStep 3:{RIGHT}{end}", f" 5\nStep 3:{WRONG}{end}")
    assert rows[0].keys() == {"prompt", "chosen", "rejected", "problem_id", "state_index", "value", "label"}


def written(seed: int, rate: float, truncates: float = 0.0):
    """A model that writes up to five steps of two kinds, graded at random."""

    def write(state, n):
        rng = generator(seed, state)
        first = 1 + state.count("Step ")
        made = []
        for _ in range(n):
            parts = [f" {rng.choice('ab')}\nStep {k + 1}:" for k in range(first, rng.randint(first, 5))]
            text = "".join([*parts, f" {rng.choice('xyz')}."])
            reward = float(generator(seed, state + text).random() < rate)  # as a grader has it
            made.append(completion(text, reward, truncated=generator(state + text).random() < truncates))
        return made

    return write


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.sampled_from([0.3, 0.7]), truncates=st.sampled_from([0.0, 0.3]))
def test_every_pair_is_two_sampled_responses_from_the_path(seed, rate, truncates):
    groups = searched(written(seed, rate, truncates), mcts_depth=3, mcts_actions=3, mcts_simulations=8)
    found, left_out = drafts(groups)
    # Every response that was sampled, or begun by one and ended by another from the state in between.
    graded = {g.state.prefix_ids + c.token_ids: c for g in groups for c in g.completions}
    by_prefix = {g.state.prefix_ids: g for g in groups}
    path, end = [], groups[0].state.prefix_ids
    while end in by_prefix:
        group = by_prefix[end]
        taken = [(s, c) for c in group.completions if (s := step_of(dict(c.extra_logs))) and s.is_taken]
        path.append(end)
        if not taken:
            break
        ((step, last),) = taken
        end += last.token_ids[: step.tokens]
    is_right = end in graded and graded[end].is_correct
    assert bool(left_out["wrong_path"]) is not is_right
    if not is_right:
        assert not found
    depths = [path.index(draft.state_ids) for draft in found]
    assert depths == sorted(set(depths)) and len(found) <= MOST_PAIRS
    for draft in found:
        steps = {}
        for c in draft.group.completions:
            if step := step_of(dict(c.extra_logs)):
                steps[c.token_ids[: step.tokens]] = step.q
        better, worse = (
            next(q for ids, q in steps.items() if response[: len(ids)] == ids) for response in draft.responses
        )
        assert better == max(steps.values()) > worse == min(steps.values())
        chosen, rejected = (graded[draft.state_ids + response] for response in draft.responses)
        assert chosen.is_correct and not chosen.truncated and not rejected.truncated
    branching = [p for p in path if sum(step_of(dict(c.extra_logs)) is not None for c in by_prefix[p].completions) > 1]
    reasons = ("same_q", "never_solved", "truncated")
    assert is_right is False or len(found) + sum(left_out[r] for r in reasons) == min(len(branching), MOST_PAIRS)


def told(tokens, q, *, taken=0.0, visits=1.0, choice=0.0):
    names = dict(tokens=tokens, q=q, choice=choice, gain=q, value=q, visits=visits, is_taken=taken)
    return tuple((f"mcts_{name}", float(value)) for name, value in names.items())


def with_steps(group, *logs):
    """Each completion whole as a step, with these numbers."""
    completions = [replace(c, extra_logs=of_one) for c, of_one in zip(group.completions, logs, strict=True)]
    return replace(group, completions=tuple(completions))


def test_what_orders_steps_of_equal_q_and_that_q_alone_makes_a_pair():
    (group, *_) = visit([mixed(2, 1)] * 3)
    sizes = [len(c.token_ids) for c in group.completions]
    logs = [told(sizes[0], 0.5, choice=1.0, taken=1.0), told(sizes[1], 0.5), told(sizes[2], 0.1)]
    (pair,) = contrasts(Searched((with_steps(group, *logs),)), Counter())
    assert (pair.better.completion.token_ids, pair.worse.completion.token_ids) == (
        group.completions[0].token_ids, group.completions[2].token_ids,
    )  # fmt: skip
    # The visits are the last to decide; with one Q for all there is none.
    logs = [told(sizes[0], 0.5, visits=2, taken=1.0), told(sizes[1], 0.5, visits=3), told(sizes[2], 0.1)]
    (pair,) = contrasts(Searched((with_steps(group, *logs),)), Counter())
    assert pair.better.completion is not None and pair.better.step.visits == 3
    left_out = Counter()
    logs = [told(size, 0.1 + 1e-17, visits=i, taken=not i) for i, size in enumerate(sizes)]
    assert not list(contrasts(Searched((with_steps(group, *logs),)), left_out)) and left_out == {"same_q": 1}


def test_a_better_step_that_ends_wrong_is_no_chosen_response():
    (group, *_) = visit([mixed(1, 1)] * 3)  # the first is right
    right, wrong = (len(c.token_ids) for c in group.completions)
    taken = with_steps(group, told(right, 0.1, taken=1.0), told(wrong, 0.5))
    assert drafts([taken]) == ([], {"never_solved": 1})
    (draft,), left_out = drafts([with_steps(group, told(right, 0.5, taken=1.0), told(wrong, 0.1))])
    assert draft.responses == tuple(c.token_ids for c in group.completions) and not left_out


def test_what_gives_no_pair_is_counted(build):
    assert drafts(visit([mixed(1, 1)] * 3)) == ([], {"no_search": 1})
    status, said = build("mcts", visit([mixed(1, 1)] * 3))
    assert status == 2 and "1 visits without a tree search (--marge.explore mcts_dpo)" in said
    groups = searched(lambda state, n: [(" 7.", 0.0), (" 6.", 0.0)] * 2)
    assert drafts(groups) == ([], {"wrong_path": 1})
    # Both are right and equally often visited.
    assert drafts(searched(lambda state, n: [(" 7.", 1.0), (" 6.", 1.0)] * 2))[1] == {"same_q": 1}
    cut = searched(lambda state, n: [(" 7.", 1.0), completion(" 6", 0.0, truncated=True)] * 2)
    assert drafts(cut) == ([], {"truncated": 1})


def test_at_most_eight_pairs_of_a_visit():
    def write(state, n):
        step = 1 + state.count("Step ")
        more = f" go\nStep {step + 1}:" if step < 12 else " 9"
        return [(f"{more} right.", 1.0), (" wrong.", 0.0)] * (n // 2)

    groups = searched(write, mcts_depth=12, mcts_simulations=16)
    found, left_out = drafts(groups)
    assert len(found) == 8 and not left_out
    assert [d.state_ids for d in found] == [g.state.prefix_ids for g in groups][:8]


def test_a_response_that_a_stop_text_ended_ends_with_eos(build):
    def write(state, n):
        return [completion(" 7\nStep 2: 9.", 1.0, stop="#"), completion(" 6.", 0.0, stop="#")] * 2 if not state else [
            completion(" 9.", 1.0, stop="#"), completion(" 10.", 0.0, stop="#")
        ] * 2  # fmt: skip

    rows, said = build("mcts", searched(write, stop=("#",)), stop=("#",))
    end = tokenizer().eos_token
    assert "ended at a text of --marge.stop" in said
    assert [(r["chosen"], r["rejected"]) for r in rows] == [
        (f" 7\nStep 2: 9.{end}", f" 6.{end}"), (f" 9.{end}", f" 10.{end}"),
    ]  # fmt: skip


def test_a_dump_that_lacks_a_state_is_refused(build):
    first, *_ = searched(known, mcts_depth=2)
    status, said = build("mcts", [first])
    assert status == 2 and "has 1 state, where the run wrote 5" in said


def test_steps_alone_have_no_eos_and_a_smoothing_by_their_visits(build):
    groups = searched(known, mcts_depth=2)
    rows, said = build("mcts_steps", groups)
    assert "OpenRLHF must carry the patches" in said
    steps = [step_of(dict(c.extra_logs)) for c in groups[0].completions[:2]]
    # The better step from s_0 is the first one; the one after " 7" goes to the end, by steps without siblings.
    assert (rows[0]["chosen"], rows[0]["rejected"]) == (" 7\nStep 2:", " 6\nStep 2:")
    assert rows[0]["label_smoothing"] == min(1 - 1 / (1 + steps[1].visits / steps[0].visits), 0.5)
    end = tokenizer().eos_token
    assert (rows[1]["chosen"], rows[1]["rejected"]) == (f" 8\nStep 3:{RIGHT}{end}", " 5\nStep 3:")
    assert {row["append_eos"] for row in rows} == {False}
    assert rows[1].keys() - rows[0].keys() == set() and list(rows[0])[-2:] == ["label_smoothing", "append_eos"]


def test_the_label_smoothing_of_the_conservative_loss():
    assert [label_smoothing(3, 1), label_smoothing(1, 1), label_smoothing(1, 3)] == [0.25, 0.5, 0.5]
    assert label_smoothing(0, 0) == label_smoothing(5, 0) == 0.0 and label_smoothing(0, 1) == 0.5


def test_openrlhf_reads_the_steps_as_they_were_sampled(build, tmp_path):
    groups = searched(known, mcts_depth=2)
    rows, _ = build("mcts_steps", groups)
    data = reward_dataset(rows)
    drafted = list(SearchedSteps().drafts(groups, SETTINGS, Counter()))
    assert len(data) == len(rows) == len(drafted) == 2
    for (chosen, _, rejected, _, length, smoothing), draft, row in zip(data, drafted, rows, strict=True):
        context = draft.group.problem.prompt_ids + draft.state_ids
        assert tuple(chosen[0].tolist()) == context + draft.responses[0]
        assert tuple(rejected[0].tolist()) == context + draft.responses[1]
        assert length == len(context) and smoothing == row["label_smoothing"]


def test_a_path_that_stops_before_its_end_is_none_that_ends_right():
    (first, *_) = visit([mixed(2, 0)] * 3)
    logs = [told(2, 0.9, taken=1.0), told(2, 0.1)]
    path = (with_steps(first, *logs),)
    after = replace(
        first,
        id=9,
        state=State(index=1, prefix_ids=first.state.prefix_ids + first.completions[0].token_ids[:2]),
        completions=first.completions,
    )
    left_out = Counter()
    assert not list(contrasts(Searched((*path, after)), left_out)) and left_out == {"wrong_path": 1}


def test_where_the_search_went_no_further_the_best_completion_ends_the_response():
    (first, *_) = visit([mixed(1, 1)] * 3)
    first = with_steps(first, told(2, 0.9, taken=1.0), told(2, 0.1))
    step = first.completions[0].token_ids[:2]
    (after,) = (
        replace(
            g, id=9, state=State(index=1, prefix_ids=first.state.prefix_ids + step), completions=g.completions[::-1]
        )
        for g in visit([mixed(1, 1)] * 3)[:1]
    )
    searched = Searched((first, after))
    ids, last = whole_response(
        searched, first, searched.children(first)[-1], PairSettings(eos_id=tokenizer().eos_token_id)
    )
    assert last.is_correct and ids == step + last.token_ids

"""Exploration without training: what a stop at any moment leaves, and what the next start makes of it."""

import asyncio
import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.exploration import (
    ExplorationFolder,
    Journal,
    JournaledSampler,
    Totals,
    check_settings,
    explore_all,
    only_one,
    read_pool,
    write_settings,
)
from openrlhf_marge.exploration.totals import totals_of
from openrlhf_marge.method.groups import Exploration

from factories import EOS, ScriptedModel, completion, explorer, group, problem

PROBLEMS = [problem(f"p{i}") for i in range(5)]
PER_FILE = 2  # so three files, the last with one problem


class Stopped(Exception):
    """As when the process is killed: nothing is closed or written after it."""


def answers(asked, prefix_ids, n):
    """Differ from problem to problem and state to state; every other one is correct."""
    rng = random.Random(f"{asked.id} {prefix_ids} {n}")
    length = 6 - len(prefix_ids)
    return [completion(float(i % 2), ids=(*(rng.randint(20, 90) for _ in range(length)), EOS)) for i in range(n)]


def stopping(after):
    """A script that answers so many requests, and then raises."""
    calls = []

    def script(asked, prefix_ids, n):
        calls.append(asked.id)
        if len(calls) > after:
            raise Stopped
        return answers(asked, prefix_ids, n)

    return script


def run(out, script=answers, problems=PROBLEMS, most_tokens=None, start_from=None, delays=None):
    """Explore into ``out``; returns the scripted model and the folder."""
    model = ScriptedModel(script, delays)
    folder = ExplorationFolder(out, [p.id for p in problems], PER_FILE, "group_norm")
    if start_from is not None:
        folder.start_from(start_from)
    chain = explorer(JournaledSampler(model, folder.journal), pool=folder.pool)
    asyncio.run(explore_all(chain, folder, problems, in_flight=3, most_tokens=most_tokens))
    folder.finish()
    return model, folder


def files_of(out):
    return {path.name: path.read_bytes() for path in out.glob("*.parquet")}  # candidates, too


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    model, folder = run(out)
    return files_of(out), sorted(model.calls), folder.totals


def test_files_hold_the_problems_in_the_order_of_the_data_whichever_is_done_first(tmp_path, undisturbed):
    run(tmp_path, delays=iter([0.02, 0.0, 0.01] * 20))
    assert files_of(tmp_path) == undisturbed[0]
    ids = [[g.problem.id for g in read_groups(path)] for path in dump_files(tmp_path)]
    assert ids == [["p0"] * 3 + ["p1"] * 3, ["p2"] * 3 + ["p3"] * 3, ["p4"] * 3]


@settings(max_examples=25)
@given(stops=st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_a_stop_at_any_request_loses_and_repeats_nothing(tmp_path_factory, undisturbed, stops):
    out, asked = tmp_path_factory.mktemp("stopped"), []
    for after in stops:
        model = ScriptedModel(stopping(after))
        folder = ExplorationFolder(out, [p.id for p in PROBLEMS], PER_FILE, "group_norm")
        chain = explorer(JournaledSampler(model, folder.journal), pool=folder.pool)
        try:
            asyncio.run(explore_all(chain, folder, PROBLEMS, in_flight=3))
        except Stopped:
            asked += model.calls[:after]
        else:
            asked += model.calls
        folder._dump.wait()  # a process that stops takes its writing thread along, this test's goes on
    model, folder = run(out)
    assert sorted(asked + model.calls) == undisturbed[1]
    assert files_of(out) == undisturbed[0]
    assert folder.totals == undisturbed[2]
    assert list((out / "unfinished").iterdir()) == []


def test_a_torn_last_line_is_cut_off_and_its_request_asked_again(tmp_path):
    journal = Journal(tmp_path, {"p": 1})
    journal.add("p", 7, [completion(0.5, log_probs=(-0.5, -0.25), extra_logs=(("x", 1.0),), weight_versions=(2, 3))])
    journal.add("p", 8, [completion(1.0)])
    path = tmp_path / "00000001.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    again = Journal(tmp_path, {"p": 1})
    assert again.get("p", 7) == [
        completion(0.5, log_probs=(-0.5, -0.25), extra_logs=(("x", 1.0),), weight_versions=(2, 3))
    ]
    assert again.get("p", 8) is None
    again.add("p", 8, [completion(0.0)])
    assert Journal(tmp_path, {"p": 1}).get("p", 8) == [completion(0.0)]


def test_a_changed_journal_is_named(tmp_path):
    (tmp_path / "00000001.jsonl").write_text("[1\n")
    with pytest.raises(ValueError, match=r"00000001\.jsonl was changed"):
        Journal(tmp_path, {})


def test_an_answer_of_a_journal_that_was_changed_is_named_and_one_without_checksum_is_read(tmp_path):
    journal = Journal(tmp_path, {"p": 1})
    journal.add("p", 7, [completion(0.0, ids=(7, 8))])
    path = tmp_path / "00000001.jsonl"
    line = path.read_text()
    path.write_text(line.replace("[7, 8]", "[7, 9]"))
    with pytest.raises(ValueError, match=rf"00000001\.jsonl was changed, its byte {len(line)} ends a line that is no"):
        Journal(tmp_path, {})
    path.write_text(json.dumps(json.loads(line)[:3]) + "\n")
    assert Journal(tmp_path, {}).get("p", 7) == [completion(0.0, ids=(7, 8))]


def test_other_problems_at_the_place_of_those_that_are_explored_are_named(tmp_path):
    run(tmp_path)
    others = ["x0", "x1", *(p.id for p in PROBLEMS[2:])]
    with pytest.raises(ValueError, match=r"rollout-00000001.parquet has the problem 'p0', which is not at this place"):
        ExplorationFolder(tmp_path, others, PER_FILE, "group_norm")
    ExplorationFolder(tmp_path, [p.id for p in PROBLEMS], PER_FILE, "group_norm")


def test_the_budget_ends_after_the_problems_that_were_begun(tmp_path):
    _, folder = run(tmp_path, most_tokens=1)
    assert [[g.problem.id for g in read_groups(path)] for path in dump_files(tmp_path)] == [
        ["p0"] * 3 + ["p1"] * 3,
        ["p2"] * 3,
    ]
    assert folder.totals.problems == 3


def test_under_a_budget_the_next_exploration_begins_with_what_was_not_visited(tmp_path):
    """Otherwise each iteration of a loop would explore, and train on, the same first problems."""
    run(tmp_path / "a", most_tokens=1)
    (tmp_path / "a" / "summary.json").write_text("{}")
    run(tmp_path / "b", most_tokens=1, start_from=read_pool(tmp_path / "a"))
    explored = [
        list(dict.fromkeys(g.problem.id for path in dump_files(tmp_path / name) for g in read_groups(path)))
        for name in "ab"
    ]
    assert explored == [["p0", "p1", "p2"], ["p0", "p3", "p4"]]  # three are in flight; files are in the data's order


def test_totals_are_sums_with_the_means_that_they_give(undisturbed):
    totals = undisturbed[2]
    assert (totals.problems, totals.states, totals.completions, totals.completions_correct) == (5, 15, 60, 30)
    assert totals.candidate_tokens == 5 * 6 * 7
    assert totals.completion_tokens == 5 * 4 * (7 + 5 + 3)
    assert totals.as_dict() | {"pass_rate": 0.5, "states_per_problem": 3.0} == totals.as_dict()
    assert "pass_rate" not in Totals(problems=1, problems_without_room=1).as_dict()


def test_problems_without_guidance_count_in_the_pass_rate():
    solved = Exploration(problem_id="a", no_guidance=True, candidates=group(rewards=(1.0, 1.0)))
    (half,) = asyncio.run(_explored(problem("b")))
    assert totals_of([solved, half, Exploration(problem_id="c", no_room=True)]).as_dict()["pass_rate"] == 0.75


async def _explored(*problems):
    return [await explorer(ScriptedModel(answers)).explore(p) for p in problems]


def test_the_next_exploration_begins_with_the_guidance_of_this_one(tmp_path):
    _, first = run(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a holds no finished exploration \(no summary.json\)"):
        read_pool(tmp_path / "a")
    (tmp_path / "a" / "summary.json").write_text("{}")
    pool = read_pool(tmp_path / "a")
    assert pool == first.pool.state_dict()
    model, _ = run(tmp_path / "b", problems=PROBLEMS[:3], start_from=pool)
    assert {n for _, _, n in model.calls} == {4}  # no candidates
    (tmp_path / "b" / "summary.json").write_text("{}")
    after = read_pool(tmp_path / "b")
    assert [after.visits[p.id] for p in PROBLEMS] == [2, 2, 2, 1, 1]  # what it did not visit is carried on


def test_other_flags_do_not_go_on_in_the_same_folder(tmp_path):
    path = tmp_path / "settings.json"
    check_settings(path, {"--train.seed": 1, "--rollout.top_p": 0.95})
    assert not path.exists()  # a typo that is found before anything runs must not stay in the folder
    write_settings(path, {"--train.seed": 1, "--rollout.top_p": 0.95})
    check_settings(path, {"--train.seed": 1, "--rollout.top_p": 0.95})
    assert json.loads(path.read_text()) == {"--train.seed": 1, "--rollout.top_p": 0.95}
    with pytest.raises(ValueError, match=r" was begun with --train.seed 1, not 2; give the same flags"):
        check_settings(path, {"--train.seed": 2, "--rollout.top_p": 0.95})


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    code = f"""
from pathlib import Path
from openrlhf_marge.exploration import only_one
with only_one(Path({str(tmp_path)!r})):
    print("in", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"in\n"
            with pytest.raises(ValueError, match="is written to by another process"), only_one(tmp_path):
                pass
        finally:
            other.kill()
    with only_one(tmp_path):
        pass


def test_a_judgement_is_asked_for_once_however_often_the_exploration_starts(tmp_path):
    model = ScriptedModel(answers, judge=lambda ids: len(ids) / 10)

    def judged(ids, option):
        sampler = JournaledSampler(model, Journal(tmp_path, {"p0": 1}))
        return asyncio.run(sampler.judged(PROBLEMS[0], ids, option))

    assert [judged((1, 2), 7), judged((1, 2), 7)] == [judged((1, 2), 7)] * 2
    assert judged((1, 2, 3), 7).reward == 0.3 and judged((1, 2), 8).token_ids == (8,)
    assert model.judgements == [((1, 2), 7), ((1, 2, 3), 7), ((1, 2), 8)]

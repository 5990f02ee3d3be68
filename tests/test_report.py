"""The report's data, sample and errors; the page itself in a browser: test_report_browser.py."""

import dataclasses
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from openrlhf_marge import Completion, Guidance, MargeConfig, State, StateGroup, split_into_states
from openrlhf_marge.cli.report import main
from openrlhf_marge.data.columns import find_files
from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.host.rollout.tokens import encode
from openrlhf_marge.report import reading
from openrlhf_marge.report.building import dump_names
from openrlhf_marge.report.run import facts, headline
from openrlhf_marge.report.sampling import Count, sample_visits
from openrlhf_marge.report.texts import questions
from openrlhf_marge.runs.folder import explored_with, flag_values

from scripted_dumps import COT_PREFIX, GUIDANCE, completion, mixed, problem, save_model, tokenizer, visit, write_dump


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def report(tmp_path, model, capsys):
    """The data in the page of a run whose rollouts are given, and the whole page."""

    def run(*rollouts, flags=(), **kwargs):
        write_dump(tmp_path / "dump", *rollouts, **kwargs)
        assert main([str(tmp_path), "--model", model, *flags]) == 0
        page = (tmp_path / "report.html").read_text()
        (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
        return json.loads(data), page

    return run


def seven_visits():
    """Of three problems, 6 completions each."""
    numbers = [("What is 1+1?", range(3)), ("What is 2+2?", range(2)), ("What is 3+3?", range(2))]
    states = [mixed(1, 1)] * 3
    return [
        [g for q, visits in numbers if n in visits for g in visit(states, of=problem(q), number=n)] for n in range(3)
    ]


def test_a_visit_holds_what_figure_7_shows(report):
    failed = dataclasses.replace(
        completion(" hm", 0.0, truncated=True), extra_logs=(("grader_no_answer", 1.0), ("length", 2.5), ("zero", 0.0))
    )
    right = dataclasses.replace(completion(" 7+1=8\n\nThe answer is: \\boxed{9}."), weight_versions=(3, 4))
    groups = visit([[right, failed], mixed(0, 1), mixed(1, 0)], of=problem())
    data, _ = report(groups)
    (shown,) = data["problems"]
    (of_visit,) = shown.pop("visits")
    assert shown.pop("prompt") == shown.pop("question") == problem().prompt
    assert shown == dict(id="What is 3+4+1+1?", label="9", gold="9")
    assert of_visit["step"] == 1
    assert of_visit["guidances"] == [
        dict(
            correct=False, passRate=0.5, visit=0, states=[0, 1, 2],
            pieces=[COT_PREFIX, " 3+4=7\nStep 2:", " 7+1=9\nStep 3:", " 9+1=10\nThe answer is: \\boxed{10}."],
        )
    ]  # fmt: skip
    assert [(s["index"], s["value"], s["tokens"], s["gain"]) for s in of_visit["states"]] == [
        (0, 0.5, 3, 0.0), (1, 0.0, 10, 0.0), (2, 1.0, 17, 0.0)
    ]  # fmt: skip
    shared = dict(truncated=False, failure=None, logs={}, weights=[0, 0])
    assert of_visit["states"][0]["completions"] == [
        shared | dict(
            text=" 7+1=8\n\nThe answer is: \\boxed{9}.<|im_end|>", tokens=10, answer="9", correct=True, reward=1.0,
            advantage=0.5, weights=[3, 4],
        ),
        shared | dict(
            text=" hm", tokens=3, answer="1: hm", correct=False, reward=0.0, advantage=-0.5, truncated=True,
            failure="no_answer", logs={"length": 2.5},
        ),
    ]  # fmt: skip


def test_guidances_of_one_visit_share_the_states_of_their_common_start(report):
    other = f"{COT_PREFIX} 3+4=7\nStep 2: 7+1=8\nStep 3: 8+1=9\nThe answer is: \\boxed{{9}}."
    guidances = [
        Guidance(token_ids=encode(tokenizer(), text), is_correct=text == other, pass_rate=0.5)
        for text in (GUIDANCE, other)
    ]
    s0 = encode(tokenizer(), COT_PREFIX)
    states = split_into_states(
        problem(), guidances, s0, MargeConfig(n_guidances=2), lambda ids: decode_pieces(tokenizer(), ids)
    )
    data, _ = report([
        StateGroup(id=i, problem=problem(), state=s, n_states=len(states), completions=tuple(mixed(1, 1)))
        for i, s in enumerate(states)
    ])  # fmt: skip
    first, second = data["problems"][0]["visits"][0]["guidances"]
    assert (first["states"], second["states"]) == ([0, 1, 2], [0, 1, 3])
    assert second["correct"] and second["pieces"][2] == " 7+1=8\nStep 3:"


def test_without_guidance_s0_is_the_only_state(report):
    (s0, *_) = visit([mixed(1, 1)] * 3)
    data, _ = report([dataclasses.replace(s0, state=dataclasses.replace(s0.state, guidance=None), n_states=1)])
    (shown,) = data["problems"][0]["visits"]
    assert shown["guidances"] == [
        dict(correct=None, passRate=None, visit=None, pieces=[COT_PREFIX, ""], states=[0])
    ]  # fmt: skip


def candidates_of(of, number=0):
    (s0, *_) = visit([mixed(0, 2)] * 3, of=of, number=number)
    return dataclasses.replace(s0, id=s0.id + 1, state=dataclasses.replace(s0.state, guidance=None), n_states=1)


def test_candidates_are_shown_before_the_visit_they_were_sampled_for_and_without_one(report):
    solved, unsolved = problem(), problem("What is 9+9?")
    groups = visit([mixed(1, 1)] * 3, of=solved)
    data, _ = report(groups, candidates=[candidates_of(solved), candidates_of(unsolved)])
    shown = {p["id"]: [(v["candidates"], len(v["states"])) for v in p["visits"]] for p in data["problems"]}
    assert shown == {solved.id: [(True, 1), (False, 3)], unsolved.id: [(True, 1)]}
    assert [c["advantage"] for c in data["problems"][1]["visits"][0]["states"][0]["completions"]] == [0.0, 0.0]


def test_several_dumps_are_told_apart_by_what_their_paths_do_not_share():
    loop = [Path("/a/loop") / f"iteration_{i}" / "explore" for i in (1, 2)]
    assert dump_names(loop) == {loop[0]: "iteration_1/explore", loop[1]: "iteration_2/explore"}
    assert dump_names(loop[:1]) == {loop[0]: ""}
    assert dump_names([Path("a"), Path("b/c")]) == {Path("a"): "a", Path("b/c"): "b/c"}


def test_a_character_that_a_state_cuts_is_shown_once_it_is_whole_and_read_as_it_was_graded(report):
    ids, s0 = encode(tokenizer(), f"{COT_PREFIX} \\boxed{{\u4f60}}."), encode(tokenizer(), COT_PREFIX)
    cut = len(encode(tokenizer(), f"{COT_PREFIX} \\boxed{{")) + 1
    of_guidance = Guidance(token_ids=ids, is_correct=False, pass_rate=0.5)
    rest = Completion(token_ids=ids[cut:], reward=0.0, is_correct=False)
    data, _ = report([
        StateGroup(
            id=i, problem=problem(), state=State(index=i, prefix_ids=prefix, guidance=of_guidance), n_states=2,
            completions=completions,
        )
        for i, prefix, completions in ((0, s0, tuple(mixed(1, 1))), (1, ids[:cut], (rest,)))
    ])  # fmt: skip
    (shown,) = data["problems"][0]["visits"]
    assert shown["guidances"][0]["pieces"] == [COT_PREFIX, " \\boxed{", "\u4f60}."]
    (of_state,) = shown["states"][1]["completions"]
    assert (of_state["text"], of_state["answer"]) == ("\u4f60}.", "\u4f60")


def test_questions_are_prompts_without_their_template():
    template = "<|im_start|>user\nWhat is {}?\nReason step by step.<|im_end|>\n<|im_start|>assistant\n"
    assert questions([template.format(q) for q in ("1+2", "1+3", "1+2")]) == [
        "What is 1+2?", "What is 1+3?", "What is 1+2?"
    ]  # fmt: skip
    assert questions(["only one\n"]) == ["only one\n"]
    assert questions(["Hi\n", "Hi\nyou"]) == ["Hi\n", "you"]  # nothing would be left of the first


def test_all_problems_keep_the_order_and_the_steps_of_the_dump(report):
    data, _ = report(*seven_visits())
    assert [(p["id"], [v["step"] for v in p["visits"]]) for p in data["problems"]] == [
        ("What is 1+1?", [1, 2, 3]), ("What is 2+2?", [1, 2]), ("What is 3+3?", [1, 2])
    ]  # fmt: skip
    assert data["sampling"] == "Everything of the dump is here: 42 completions of 7 visits of 3 problems."


def test_a_sample_is_stated_seeded_and_grows(report, tmp_path):
    data, page = report(*seven_visits(), flags=["--max_completions", "20"])
    assert data["sampling"] == (
        "This is a sample: 18 completions of 3 visits of 2 problems, out of 42 completions of 7 visits of 3 problems. "
        "Problems are drawn with seed 0, with all their visits as far as --max_completions 20 reaches."
    )
    assert report(*seven_visits(), flags=["--max_completions", "20"])[1] == page
    found = [v for path in find_files([tmp_path / "dump"]) for v in reading.find_visits(path)]
    sizes = [set(sample_visits(found, n, seed=1)) for n in (1, 12, 24, 42)]
    assert [Count.of(tuple(s)).completions for s in sizes] == [6, 12, 24, 42]
    assert all(a < b for a, b in itertools.pairwise(sizes))
    assert len({v.problem_id for seed in range(20) for v in sample_visits(found, 1, seed)}) == 3


@pytest.mark.parametrize("batch_rows", [1, 5, 4096])
def test_visits_are_read_whatever_the_batches(tmp_path, monkeypatch, batch_rows):
    monkeypatch.setattr(reading, "BATCH_ROWS", batch_rows)
    (path,) = find_files([write_dump(tmp_path, [g for rollout in seven_visits() for g in rollout])])
    visits = reading.find_visits(path)
    assert [(v.problem_id[8], v.end - v.start) for v in visits] == [(n, 6) for n in "1231231"]
    read = list(reading.read_visits(path, visits[1::3]))
    assert [[(row["problem_id"][8], row["state_index"], len(rows)) for row, rows in groups] for groups in read] == [
        [("2", 0, 2), ("2", 1, 2), ("2", 2, 2)]
    ] * 2


def test_no_text_of_a_model_becomes_markup(report):
    hostile = " </script><!--<script>alert(1)</script>{{data}}"
    data, page = report(visit([[completion(hostile)], mixed(1, 0), mixed(0, 1)]))
    assert data["problems"][0]["visits"][0]["states"][0]["completions"][0]["text"] == f"{hostile}<|im_end|>"
    assert page.count("<script") == page.count("</script") == 2 and "<!--" not in page
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", page)


def test_flags_facts_and_headline():
    assert flag_values(["--a", "1", "--on", "--b=2", "3", "--a", "4"]) == {"--a": "4", "--on": "", "--b": "2 3"}
    scores = {"before": {"pass@1": 0.25, "n": 3}, "after": {"pass@1": 0.5}}
    known = {"method": "marge", "before pass@1": "0.25", "before n": "3", "after pass@1": "0.5"}
    assert facts({"method": "marge", "training_flags": ["--a"]} | scores) == known
    assert headline(known) == [("method", "marge"), ("held-out pass@1", "0.25 \u2192 0.5")]


def test_curves_come_from_the_log(report, tmp_path):
    writer = pytest.importorskip("torch.utils.tensorboard", reason="tensorboard is not installed").SummaryWriter(
        tmp_path / "tensorboard"
    )
    for step, reward in enumerate((0.25, float("nan"), 0.5), start=1):
        writer.add_scalar("train/rollout/reward_mean", reward, step)
    writer.add_scalar("train/marge/value_correct/state_1", 0.75, 1)
    writer.close()
    data, _ = report(*seven_visits())
    assert data["curves"] == [
        dict(title="Reward of completions, mean", x="step", series=[["", [[1, 0.25], [3, 0.5]]]]),
        dict(
            title="Value by state index, mean V(s_j)", x="state index",
            series=[["correct guidance", [[1, 0.75]]], ["incorrect guidance", []]],
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(("stop", "answers"), [(("\n\nQuestion", "END"), ["6", "7"]), ((), [None, None])])
def test_answers_are_read_as_they_were_graded_without_the_stop_text(report, stop, answers):
    """It is among the tokens of a completion, and shown; which texts are such stands in the dump."""
    ended = [completion(text, 0.0) for text in (" He has 6.\n\nQuestion", " He has 7.\nEND")]
    data, _ = report(visit([ended, *[mixed(1, 1)] * 2]), stop=stop)
    shown = data["problems"][0]["visits"][0]["states"][0]["completions"]
    assert [c["answer"] for c in shown] == answers and shown[0]["text"].startswith(" He has 6.\n\nQuestion")


def test_a_run_without_log_or_summary_says_so(report):
    data, _ = report(*seven_visits())
    assert data["curves"] == [] and "no TensorBoard log" in data["curvesNote"] and data["flags"] == []


def test_without_tensorboard_only_the_curves_are_missing(report, tmp_path, monkeypatch):
    (tmp_path / "events.out.tfevents.1.host").touch()
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    data, _ = report(*seven_visits())
    assert data["curvesNote"] == "The curves are missing: tensorboard is not installed."
    assert len(data["problems"]) == 3


def test_the_summary_tells_dump_and_model(tmp_path, model, capsys):
    write_dump(tmp_path / "elsewhere", *seven_visits())
    flags = ["--marge.dump_dir", str(tmp_path / "elsewhere"), "--ckpt.output_dir", model]
    (tmp_path / "summary.json").write_text(json.dumps(dict(training_flags=flags)))
    assert main([str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'page.html'}: Everything of the dump is here: 42 completions of 7 visits of 3 problems.\n"
    )


def test_a_copied_run_is_read_where_it_is_and_what_is_outside_of_it_is_named(tmp_path, model, capsys):
    run, copied = tmp_path / "run", tmp_path / "copied"
    write_dump(run / "elsewhere", *seven_visits())
    flags = ["--marge.dump_dir", str(run / "elsewhere"), "--ckpt.output_dir", model]
    (run / "summary.json").write_text(json.dumps(dict(training_flags=flags)))
    shutil.copytree(run, copied)
    shutil.rmtree(run / "elsewhere")
    assert main([str(copied)]) == 0 and "outside" not in capsys.readouterr().out
    (copied / "elsewhere").rename(run / "elsewhere")
    assert main([str(copied)]) == 0
    assert capsys.readouterr().out == (
        f"{copied / 'report.html'}: Everything of the dump is here: 42 completions of 7 visits of 3 problems. "
        f"({run / 'elsewhere'}, of which the summary of {copied} tells, is outside of it)\n"
    )


def test_an_exploration_is_a_run_whose_settings_tell_its_model_and_flags(tmp_path, model, capsys):
    write_dump(tmp_path, *seven_visits())
    settings = {"--actor.model_name_or_path": model, "--marge.stop": ["Q:", "END"], "--marge.n_guidances": 1}
    more = {"--vllm.enforce_eager": True, "--use_ms": False, "--guidance_from": None}
    (tmp_path / "settings.json").write_text(json.dumps(settings | more))
    assert explored_with(tmp_path) == {
        "--actor.model_name_or_path": model, "--marge.stop": "Q: END", "--marge.n_guidances": "1",
        "--vllm.enforce_eager": "",
    }  # fmt: skip
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'report.html'}: Everything of the dump is here: 42 completions of 7 visits of 3 problems.\n"
    )
    assert '["--marge.stop","Q: END"]' in (tmp_path / "report.html").read_text()


BAD = {
    "{run}/nowhere": "RUN {run}/nowhere is no folder; give the folder of a run",
    "{run}": "{run} has no dump: neither the --marge.dump_dir of its summary.json nor {run}/dump is there, nor is it ",
    "{run} --dump {run}/empty --model {model}": "{run}/empty holds no rollout-*.parquet file; ",
    "{run} --dump {run}/torn --model {model}": "{run}/torn/rollout-00000001.parquet is not a whole dump file",
    "{run} --dump {run}/good --model {run}/empty": "--model {run}/empty has no tokenizer that transformers can load",
    "{run} --dump {run}/good": "--model is missing, and no {run}/summary.json names one; give the run's model",
    "{run} --dump {run}/good --model {model} --out {run}/no/x.html": "--out {run}/no/x.html: its folder is not there",
    "{run} --dump {run}/good --model {model} --out {run}/empty": "--out {run}/empty is a folder; name a file in it",
    "{run} --dump {run}/good --model {model} --max_completions 0": "--max_completions is 0; it must be at least 1",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_sentence_and_no_page(tmp_path, model, capsys, command):
    (tmp_path / "empty").mkdir()
    (torn,) = find_files([write_dump(tmp_path / "torn", seven_visits()[0])])
    torn.write_bytes(torn.read_bytes()[:-9])
    write_dump(tmp_path / "good", seven_visits()[0])
    assert main(command.format(run=tmp_path, model=model).split()) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"report: error: {BAD[command].format(run=tmp_path)}")
    assert not list(tmp_path.glob("*.html*"))


def test_a_bad_summary_is_named(tmp_path, capsys):
    (tmp_path / "summary.json").write_text("{")
    assert main([str(tmp_path)]) == 2
    assert f"{tmp_path / 'summary.json'} is not JSON" in capsys.readouterr().err


def test_the_core_loads_nothing_heavy():
    code = (
        "import sys, openrlhf_marge.report.building, openrlhf_marge.report.page, openrlhf_marge.report.run; "
        "print([m for m in ('ray', 'vllm', 'deepspeed', 'openrlhf', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"

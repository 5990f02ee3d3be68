"""Methods of compare that start from the model of another one: what is refused, what is counted, what goes on."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge.cli.compare import results_of, run_all
from openrlhf_marge.compare import read_plan
from openrlhf_marge.compare.commands import launch_flags, loop_flags, run_command
from openrlhf_marge.compare.curves import learning_curves
from openrlhf_marge.compare.notes import chain_notes, short_rollouts, unequal
from openrlhf_marge.compare.results import difference_table, score_table
from openrlhf_marge.compare.starts import check_start, started, with_stand_in
from openrlhf_marge.compare.tables import markdown
from openrlhf_marge.compare.tuning import tuning_plan
from openrlhf_marge.compare.used import used_table
from openrlhf_marge.evaluation import Response
from openrlhf_marge.evaluation.responses import Answered, ResponseFolder
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.progress import UNITS, ProgressPoint, continued
from openrlhf_marge.runs.progress_files import write_points

FILE = """
seeds = [0, 1]
baseline = "REINFORCE++"
shared = "--actor.model_name_or_path BASE --actor.lr_scheduler constant"
budget.tokens = 1000
evaluate.data = ["heldout.jsonl"]
evaluate.flags = "--n 1 --k 1 --greedy_runs 0"
[methods."REINFORCE++ on MARGE"]
kind = "reinforce++"
share = 1.4
starts_from = "MARGE"
flags = "--train.batch_size 8"
[methods."REINFORCE++"]
kind = "reinforce++"
[methods.MARGE]
kind = "marge"
"""
LOOP = """
[loop]
model = "LOOPBASE"
heldout = "H"
iterations = 2
[methods.SFT]
kind = "sft"
share = 0.5
[methods."GRPO after SFT"]
kind = "grpo"
starts_from = "SFT"
[methods."DPO after GRPO"]
kind = "dpo"
share = 2
starts_from = "GRPO after SFT"
"""
MODEL = "--actor.model_name_or_path"


def plan_of(tmp_path, text=FILE):
    path = tmp_path / "file.toml"
    path.write_text(text)
    return read_plan(path, tmp_path / "out")


def run_of(plan, name, seed=0):
    return next(run for run in plan.runs if (run.method.name, run.seed) == (name, seed))


def test_a_method_runs_after_those_that_it_starts_from_and_stands_where_the_file_has_it(tmp_path):
    plan = plan_of(tmp_path)
    assert [str(run) for run in plan.runs] == [
        "REINFORCE++, seed 0", "REINFORCE++, seed 1", "MARGE, seed 0", "MARGE, seed 1",
        "REINFORCE++ on MARGE, seed 0", "REINFORCE++ on MARGE, seed 1",
    ]  # fmt: skip
    assert [method.name for method in plan.methods] == ["REINFORCE++ on MARGE", "REINFORCE++", "MARGE"]
    chain = plan_of(tmp_path, FILE + LOOP)
    assert [m.name for m in chain.chain_of(chain.by_name["DPO after GRPO"])] == [
        "SFT", "GRPO after SFT", "DPO after GRPO"
    ]  # fmt: skip


CHAINED, GIVEN = 'starts_from = "MARGE"', 'kind = "marge"'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (CHAINED, 'starts_from = "MARG"', r"on MARGE\]: starts_from names 'MARG', which is none of REINFORCE\+\+ on"),
        (GIVEN, f'{GIVEN}\nshare = 2\nstarts_from = "REINFORCE++ on MARGE"',
         r"on MARGE\]: (.*MARGE -> .*) start from each other in a circle; let one of them start from a model"),
        (CHAINED, 'starts_from = "REINFORCE++ on MARGE"',
         r"REINFORCE\+\+ on MARGE -> REINFORCE\+\+ on MARGE start from each other in a circle"),
        ("share = 1.4", "share = 1", "share is 1 of the budget for both, and MARGE has 1; raise the first or lower"),
        (GIVEN, 'model = "M"', "starts_from names MARGE, of whose model no tokens are known; give the folder of its"),
        (GIVEN, 'run = "R"\nstarts_from = "REINFORCE++"', "starts_from changes nothing with this run; leave it out"),
        ("budget.tokens", "marks = [0.5]\nbudget.tokens", "marks are shares of one run's way, and starts_from makes"),
        ("budget.tokens", 'match = "updates"\nbudget.tokens',
         "match needs a first update of REINFORCE.. on MARGE before any run, and MARGE trains its model; leave match"),
        (GIVEN, f'{GIVEN}\nlike = "REINFORCE++ on MARGE"', r"methods.MARGE\]: like needs a first update of REINFORCE"),
        (GIVEN, f'{GIVEN}\nresponses_of = "REINFORCE++ on MARGE"', "responses_of needs a first update of REINFORCE"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_chain_is_refused_by_one_sentence_when_the_file_is_read(tmp_path, old, new, said):
    with pytest.raises(ValueError, match=said) as e:
        plan_of(tmp_path, FILE.replace(old, new, 1))
    assert "\n" not in str(e.value) and "file.toml, [methods." in str(e.value)


def test_a_name_or_a_circle_further_up_a_chain_is_named_as_such(tmp_path):
    names = {"A": "B", "B": "C", "C": "B"}  # A is not in the circle
    tables = [f'[methods.{n}]\nkind = "grpo"\nshare = 2\nstarts_from = "{of}"\n' for n, of in names.items()]
    with pytest.raises(ValueError, match=r"\[methods.A\]: C -> B -> C start from each other in a circle"):
        plan_of(tmp_path, FILE + "".join(tables))
    with pytest.raises(ValueError, match=r"\[methods.C\]: starts_from names 'D', which is none of"):
        plan_of(tmp_path, FILE + "".join([*tables[:2], tables[2].replace('"B"', '"D"')]))


def test_flags_of_a_chained_method_name_no_model_and_trials_do_not_chain(tmp_path):
    plan = plan_of(tmp_path, FILE.replace("--train.batch_size 8", f"{MODEL}=x"))
    with pytest.raises(ValueError, match=f"on MARGE.: flags hold {MODEL}, which starts_from sets; leave one of them"):
        launch_flags(plan, run_of(plan, "REINFORCE++ on MARGE"))
    tune = '[tune]\nseeds = [7]\n[tune.methods."REINFORCE++ on MARGE"]\nlr = ["--x 1"]\n'
    with pytest.raises(ValueError, match="on MARGE starts from another method, which trials do not train; leave it"):
        tuning_plan(plan_of(tmp_path, FILE.replace("heldout", "heldout_$seed") + tune))


def test_flags_are_checked_with_the_model_that_the_chain_begins_with(tmp_path):
    plan = plan_of(tmp_path, FILE + LOOP)
    first = {run.method.name: with_stand_in(plan, run) for run in plan.runs if run.seed == 1}
    assert flag_values(launch_flags(plan, first["REINFORCE++ on MARGE"]))[MODEL] == "BASE"
    assert flag_values(launch_flags(plan, first["GRPO after SFT"]))[MODEL] == "LOOPBASE"
    words = loop_flags(plan, first["DPO after GRPO"])
    assert words[words.index("--model") + 1] == "LOOPBASE" and first["MARGE"].start is None


@given(st.lists(st.tuples(*[st.integers(0, 1000)] * 3), min_size=1, max_size=5), st.none() | st.integers(0, 9))
def test_a_run_that_goes_on_from_another_one_has_used_what_both_did(amounts, steps):
    names = ("updates", "samples", "tokens")
    points = [ProgressPoint(**dict(zip(names, of, strict=True)), seconds=0.5, optimizer_steps=3) for of in amounts]
    before = ProgressPoint(updates=2, samples=30, tokens=400, seconds=5.0, pass_rate=0.5, optimizer_steps=steps)
    for point, both in zip(points, continued(before, points), strict=True):
        assert all(getattr(both, u) == getattr(point, u) + getattr(before, u) for u in UNITS)
        assert both.optimizer_steps == (None if steps is None else 3 + steps) and both.pass_rate == point.pass_rate
    assert continued(ProgressPoint(optimizer_steps=0), points) == points


class Stack:
    """Stands for the commands: a training of 8 samples and 90 to 110 tokens an update; ends at its budget."""

    def __init__(self):
        self.commands = []

    def __call__(self, command, log):
        self.commands.append(list(command))
        values = {flag: value for flag, value in pairwise(command) if flag.startswith("--")}
        if "--ckpt.output_dir" in values:
            model = Path(values["--ckpt.output_dir"])
            model.mkdir(parents=True)
            (model / "config.json").write_text("{}")
            tokens = 110 if "--experience_maker" in values else 90
            n = round(float(values["--budget.tokens"]) / tokens)
            points = [
                ProgressPoint(updates=i, samples=8 * i, tokens=tokens * i, seconds=0.25 * i, pass_rate=0.5)
                for i in range(1, n + 1)
            ]
            write_points(model.parent / "progress.jsonl", points)
        else:
            self.evaluate(Path(values["--out"]))

    def evaluate(self, out):
        responses = ResponseFolder(out.with_name("responses"))
        if not list(responses.read()):
            answer = Response("", None, True, "correct", False)
            responses.write([Answered(0, "problem", "", "", [answer], [])])
        out.write_text(json.dumps({"data": "heldout", "responses": str(responses.path), "pass@1": 1.0}))

    @property
    def trainings(self):
        return [flag_values(command) for command in self.commands if "--budget.tokens" in command]


@pytest.fixture
def done(tmp_path):
    plan, stack = plan_of(tmp_path), Stack()
    return plan, stack, run_all(plan, stack)


def test_a_chained_run_trains_the_other_ones_model_with_what_that_left_of_the_budget(done, tmp_path):
    plan, stack, used = done
    first, *_, last = stack.trainings
    assert first[MODEL] == "BASE"
    assert last[MODEL] == f"BASE {tmp_path}/out/MARGE/seed_1/model".split()[1]
    assert (first["--budget.tokens"], last["--budget.tokens"]) == ("1000", "410")  # of 1400; MARGE used 990
    run, points = used[-1]
    assert (run.start.name, run.before.tokens, run.before.updates) == ("MARGE, seed 1", 990, 9)
    assert [(p.updates, p.tokens, p.samples) for p in points] == [
        (10, 1080, 80), (11, 1170, 88), (12, 1260, 96), (13, 1350, 104), (14, 1440, 112)
    ]  # fmt: skip
    summary = json.loads((run.folder / "summary.json").read_text())
    assert (summary["starts_from"], summary["generated_tokens"]) == ("MARGE, seed 1", 1440)
    assert summary["training_flags"] == launch_flags(plan, run)


def test_tables_notes_and_curves_tell_the_chain(done):
    plan, _, used = done
    results = results_of(plan, {("heldout", "pass@1"): "heldout.jsonl"}, used, None)
    assert markdown(score_table(results)).splitlines()[-3:] == [
        "| REINFORCE++ on MARGE (after MARGE) | **100.00 ± 0.00** |", "| REINFORCE++ | **100.00 ± 0.00** |",
        "| MARGE | **100.00 ± 0.00** |",
    ]  # fmt: skip
    assert "| REINFORCE++ on MARGE (after MARGE) | +0.00" in markdown(difference_table(results))
    rows = markdown(used_table(used)).splitlines()
    assert rows[2] == "| Run | updates | samples | generated tokens | seconds | tokens per update | starts from |"
    assert rows[-1] == "| REINFORCE++ on MARGE, seed 1 | 14 | 112 | 1,440 | 4 | 90 | MARGE, seed 1 |"
    assert rows[4] == "| REINFORCE++, seed 0 | 11 | 88 | 990 | 3 | 90 | n/a |"
    assert chain_notes(plan, used) == [
        f"REINFORCE++ on MARGE, seed {seed} starts from the model of MARGE, seed {seed}; what it used is that of "
        "both, 990 of the 1,440 generated tokens before it."
        for seed in (0, 1)
    ]
    assert unequal(plan, used) == [] and short_rollouts(used) == []
    curves = learning_curves(used)
    starts = {line.name: line.points[0].x for line in curves.panels[1].lines if line.name}
    assert starts == {"REINFORCE++": 0, "MARGE": 0, "REINFORCE++ on MARGE": 990}
    places = [curves.table.header.index(name) for name in ("method", "tokens", "tokens_of_update")]
    row = next(row for row in curves.table.rows if row[0] == "REINFORCE++ on MARGE")
    assert [row[place] for place in places] == ["REINFORCE++ on MARGE", 1080, 90]


def test_a_comparison_goes_on_where_it_was_and_trains_nothing_twice(done, tmp_path):
    plan, _, used = done
    again = Stack()
    assert run_all(plan_of(tmp_path), again) == used and again.trainings == []
    last = used[-1][0].folder
    shutil.rmtree(last)
    assert run_all(plan_of(tmp_path), again) == used
    assert [training["--budget.tokens"] for training in again.trainings] == ["410"]
    for run in plan.runs:
        check_start(plan, run)
    other = plan_of(tmp_path, FILE.replace("share = 1.4", "share = 1.5"))
    with pytest.raises(ValueError, match=r"the run of .* was done with 410 where there is 510 now"):
        check_start(other, run_of(other, "REINFORCE++ on MARGE", 1))


def test_a_chained_run_never_goes_on_after_another_run_than_it_was_begun_from(done, tmp_path):
    plan, _, used = done
    chained, marge = run_of(plan, "REINFORCE++ on MARGE"), run_of(plan, "MARGE")
    points = [replace(point, seconds=point.seconds + 0.125) for point in next(p for r, p in used if r == marge)]
    write_points(marge.folder / "progress.jsonl", points)
    with pytest.raises(ValueError, match=r"on MARGE/seed_0 was begun from another run of MARGE, seed 0 than is there"):
        check_start(plan, chained)
    shutil.rmtree(marge.folder)
    with pytest.raises(ValueError, match=r"was begun from MARGE, seed 0, which is not there; bring it back, or move"):
        check_start(plan, chained)
    shutil.rmtree(chained.folder)
    check_start(plan, chained)
    with pytest.raises(ValueError, match=r"MARGE/seed_0 is not trained yet; the same command trains it"):
        started(plan, chained)


def test_a_run_before_that_left_nothing_is_named(done, tmp_path):
    _, _, used = done
    marge = next(run for run, _ in used if run.method.name == "MARGE")
    text = FILE.replace('kind = "marge"', f'run = "{marge.folder}"').replace("share = 1.4", "share = 0.99")
    plan = plan_of(tmp_path, text)
    with pytest.raises(
        ValueError, match="MARGE, seed 0 used 990 of the 990 generated tokens that both have, so nothing"
    ):
        started(plan, run_of(plan, "REINFORCE++ on MARGE"))


def test_a_finished_run_stands_for_all_seeds_and_its_tokens_count(done, tmp_path):
    _, _, used = done
    marge = next(run for run, _ in used if run.method.name == "MARGE")
    plan = plan_of(tmp_path, FILE.replace('kind = "marge"', f'run = "{marge.folder}"').replace("1.4", "1.5"))
    plan = replace(plan, out=tmp_path / "other")
    run = started(plan, run_of(plan, "REINFORCE++ on MARGE", 1))
    assert (run.start.name, run.start.model) == ("MARGE, seed 0", str(marge.folder / "model"))
    assert flag_values(run_command(plan, run))["--budget.tokens"] == "510"


def test_the_third_of_a_chain_counts_all_and_a_loop_begins_with_the_model_before(tmp_path):
    plan = plan_of(tmp_path, FILE + LOOP.replace('kind = "sft"', 'kind = "grpo"'))
    used = run_all(
        replace(plan, methods=tuple(m for m in plan.methods if "SFT" in m.name and "DPO" not in m.name)), Stack()
    )
    grpo = next(run for run, _ in used if run.method.name == "GRPO after SFT")
    assert (grpo.before.tokens, used[-1][1][-1].tokens) == (540, 990)
    dpo = started(plan, run_of(plan, "DPO after GRPO"))
    assert (dpo.start.model, dpo.before.tokens) == (str(grpo.folder / "model"), 990)
    flags = flag_values(loop_flags(plan, dpo))
    assert flags["--model"] == dpo.start.model and "--max_generated_tokens 505" in " ".join(loop_flags(plan, dpo))

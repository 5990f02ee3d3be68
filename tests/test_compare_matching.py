"""Methods made alike by update or by responses per problem, from their first updates."""

import json
from dataclasses import replace

import pytest

from openrlhf_marge.cli import compare as cli
from openrlhf_marge.compare import read_plan
from openrlhf_marge.compare.commands import launch_flags
from openrlhf_marge.compare.matching import BATCH, PROBLEMS, RESPONSES, is_matched, matched, sizes
from openrlhf_marge.compare.pilots import Pilot, pilot_of
from openrlhf_marge.runs.folder import flag_values
from openrlhf_marge.runs.progress import ProgressPoint
from openrlhf_marge.runs.progress_files import write_points

FILE = """
seeds = [0, 1]
baseline = "GRPO"
match = "updates"
shared = '''--rollout.batch_size 24 --rollout.n_samples_per_prompt 8 --train.batch_size 96 --train.micro_batch_size 8
--rollout.micro_batch_size 8 --train.max_epochs 2 --actor.num_gpus_per_node 1'''
budget.tokens = 1000
evaluate.data = ["heldout.jsonl"]
[methods.GRPO]
kind = "grpo"
[methods.MARGE]
kind = "marge"
[methods."GRPO, matched responses"]
kind = "grpo"
responses_of = "MARGE"
[methods.Before]
model = "M"
"""
PILOTS = {
    "GRPO": Pilot(problems=24, completions=192, candidates=0, tokens=9600, optimizer_steps=4),
    # 5 states of 8 and 32 candidates: 2400 tokens a problem, of which GRPO's 9600 pay for four.
    "MARGE": Pilot(problems=24, completions=936, candidates=768, tokens=57600, optimizer_steps=18),
}


def plan_of(tmp_path, text=FILE):
    path = tmp_path / "file.toml"
    path.write_text(text)
    return read_plan(path, tmp_path / "out")


def told(plan):
    found, said = matched(plan, lambda method: PILOTS[method.name])
    return {method.name: sizes(found, method) for method in found.methods if method.kind}, said


def test_updates_get_the_tokens_and_steps_of_the_baseline_in_whole_batches(tmp_path):
    of, said = told(plan_of(tmp_path))
    assert {of["GRPO"][flag] for flag in (PROBLEMS, BATCH)} == {24, 96}
    # 39 completions a problem: two steps an epoch of 80 are 160 completions, of 4 problems.
    assert (of["MARGE"][PROBLEMS], of["MARGE"][BATCH]) == (4, 80)
    assert said[0] == (
        "MARGE has --rollout.batch_size 4 and --train.batch_size 80, by first updates: 9,600 tokens and 3.9 optimizer "
        "steps an update, where GRPO has 9,600 and 4."
    )


def test_a_baseline_gets_as_many_responses_a_problem_in_whole_batches(tmp_path):
    of, said = told(plan_of(tmp_path))
    assert of["GRPO, matched responses"][RESPONSES] == 72  # of 71: a multiple of 96 / gcd(96, 24)
    assert said[1] == (
        "GRPO, matched responses has --rollout.n_samples_per_prompt 72, as MARGE samples 71.0 completions a problem "
        "in its first update, candidates included (rounded to whole training batches)."
    )


def test_flags_of_its_own_win_and_are_named(tmp_path):
    text = FILE.replace('kind = "marge"', 'kind = "marge"\nflags = "--train.batch_size 160"')
    of, said = told(plan_of(tmp_path, text))
    assert (of["MARGE"][PROBLEMS], of["MARGE"][BATCH]) == (4, 160)
    assert said[0].endswith("where GRPO has 9,600 and 4. It keeps --train.batch_size 160, its own.")
    assert told(plan_of(tmp_path, text.replace("--train.batch_size", "--train.batch")))[0] == of  # as argparse has it
    text = FILE.replace('kind = "marge"', 'kind = "marge"\nflags = "--rollout.batch_size 24"')
    assert told(plan_of(tmp_path, text))[0]["MARGE"][BATCH] == 464  # 936 / 2, in eights
    text = FILE.replace(
        'responses_of = "MARGE"', 'responses_of = "MARGE"\nflags = "--rollout.n_samples_per_prompt 24"'
    )
    of, said = told(plan_of(tmp_path, text))
    assert of["GRPO, matched responses"][RESPONSES] == 24 and said[1].endswith("prompt 24, its own.")


def test_a_stock_method_is_given_rollouts_that_fill_its_batches(tmp_path):
    text = FILE.replace('match = "updates"\n', "").replace('responses_of = "MARGE"', 'like = "GRPO"')
    text = text.replace('like = "GRPO"', 'like = "GRPO"\nflags = "--rollout.n_samples_per_prompt 4"')
    PILOTS["GRPO, matched responses"] = Pilot(
        problems=24, completions=96, candidates=0, tokens=4900, optimizer_steps=2
    )
    of, said = told(plan_of(tmp_path, text))
    found = of["GRPO, matched responses"]
    assert found[PROBLEMS] * 4 == 2 * found[BATCH] == 192 and len(said) == 1
    assert of["MARGE"][PROBLEMS] == 24  # without match only who asks


def test_without_a_wish_nothing_is_matched(tmp_path):
    text = FILE.replace('match = "updates"\n', "").replace('responses_of = "MARGE"\n', "")
    plan = plan_of(tmp_path, text)
    assert not is_matched(plan) and matched(plan, None) == (plan, [])
    assert is_matched(plan_of(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"updates"', '"steps"', "match is 'steps'; it can be \"updates\", or be left out"),
        ('baseline = "GRPO"', 'baseline = "Before"', "match needs updates of the baseline, and Before is not trained"),
        ('responses_of = "MARGE"', 'responses_of = "MARG"', "responses_of names 'MARG', which is no other method"),
        ('model = "M"', 'model = "M"\nlike = "GRPO"', r"\[methods.Before\]: like changes nothing with this method"),
        ('kind = "marge"', 'kind = "marge"\nlike = "MARGE"', "like names 'MARGE', which is no other method that"),
        (
            'kind = "marge"',
            'kind = "marge"\nlike = "GRPO, matched responses"',
            "which is matched itself; name a method",
        ),
        ('responses_of = "MARGE"', 'responses_of = "MARGE"\nlike = "GRPO"', "has like and responses_of; give one"),
    ],
)
def test_methods_that_cannot_be_matched_are_refused(tmp_path, old, new, said):
    with pytest.raises(ValueError, match=said):
        plan_of(tmp_path, FILE.replace(old, new, 1))


def test_a_pilot_is_one_update_kept_for_the_next_start(tmp_path, monkeypatch):
    plan, commands = plan_of(tmp_path), []
    method = plan.methods[1]

    def run(command, log):
        commands.append(command)
        folder = plan.out / "MARGE" / "pilot" / "seed_0"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text("{}")
        point = ProgressPoint(updates=1, samples=800, tokens=57600, seconds=1.0, optimizer_steps=16)
        write_points(folder / "progress.jsonl", [point])

    logged = {"marge/problems": 24.0, "marge/completions": 936.0, "marge/candidates": 700.0, "marge/probes": 68.0}
    series = {f"train/{tag}": [(1, value)] for tag, value in logged.items()}
    monkeypatch.setattr("openrlhf_marge.compare.pilots.read_series", lambda folder: series)
    for _ in range(2):
        found = pilot_of(plan, method, run)
    assert len(commands) == 1 and commands[0][3:5] == ["--budget.updates", "1"]
    assert found == Pilot(problems=24, completions=936, candidates=768, tokens=57600, optimizer_steps=16)
    assert json.loads((plan.out / "MARGE" / "pilot" / "seed_0" / "pilot.json").read_text())["candidates"] == 768
    assert pilot_of(replace(plan, seeds=(7,)), method, run) == found and len(commands) == 1  # one for all seeds
    series.clear()  # OpenRLHF's own methods log no problems: eight responses are of one
    assert pilot_of(plan, method, run).problems == 100


def test_a_pilot_writes_no_dump_into_that_of_the_run(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, FILE.replace('kind = "marge"', 'kind = "marge"\nflags = "--marge.dump_dir $out/dump"'))
    launched = []

    def train(alone, run, runner):
        launched.append(flag_values(launch_flags(alone, run)))
        raise RuntimeError

    monkeypatch.setattr("openrlhf_marge.compare.pilots.train", train)
    with pytest.raises(RuntimeError):
        pilot_of(plan, plan.methods[1], None)
    assert launched[0]["--marge.dump_dir"] == str(plan.out / "MARGE" / "pilot" / "seed_0" / "dump")


def test_the_command_runs_a_pilot_once_and_checks_what_it_tells(tmp_path, monkeypatch):
    plan, asked, checked = plan_of(tmp_path), [], []

    def pilot(plan, method, runner):
        asked.append(method.name)
        return PILOTS[method.name]

    monkeypatch.setattr(cli, "pilot_of", pilot)
    monkeypatch.setattr(cli, "check", checked.append)
    found, said = cli.with_pilots(plan, None)
    assert sorted(asked) == ["GRPO", "MARGE"] and checked == [found] and len(said) == 2
    launched = flag_values(launch_flags(found, found.runs[2]))
    assert (launched[PROBLEMS], launched[BATCH]) == ("4", "80")
    assert cli.with_pilots(replace(plan, match="", methods=plan.methods[:2]), None)[1] == [] and len(checked) == 1


def test_batches_are_whole_on_every_rank(tmp_path):
    of, _ = told(plan_of(tmp_path, FILE.replace("num_gpus_per_node 1", "num_gpus_per_node 3")))
    assert of["MARGE"][BATCH] % (3 * 8) == 0

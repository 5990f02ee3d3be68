"""cli.compare: bad input, resume of a budget, and two methods on the real stack."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.trainer.ppo_trainer import LocalPPOTrainer
from safetensors.torch import load_file

from openrlhf_marge.cli import figures, model_card, report
from openrlhf_marge.cli.compare import main
from openrlhf_marge.compare.commands import OWN_FLAGS
from openrlhf_marge.host.launch import launch_check
from openrlhf_marge.host.training import metered as metered_module
from openrlhf_marge.host.training.metered import MeteredTrainer, metered
from openrlhf_marge.host.training.sampling_meter import SamplingMeter
from openrlhf_marge.host.training.trainer import MargeTrainer
from openrlhf_marge.runs.progress import ProgressPoint, RunBudget, advanced
from openrlhf_marge.runs.progress_files import read_points, write_points


def shared_flags(task) -> str:
    """The task's flags, less those that compare sets itself."""
    words = task.flags(Path("x"))
    for flag in OWN_FLAGS["flags"] & set(words):
        place = words.index(flag)
        del words[place : place + 2]
    return " ".join(words)


@pytest.fixture
def compare(task, tmp_path, monkeypatch, capsys):
    """(text of the file to replace, by what) -> exit status and what was said."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    heldout = (task.folder / "heldout.jsonl").read_text().splitlines()[:2]
    (tmp_path / "heldout.jsonl").write_text("\n".join(heldout) + "\n")
    text = f"""
        seeds = [3]
        baseline = "GRPO"
        shared = "{shared_flags(task)} --actor.lr_scheduler constant --train.num_episodes 9 --actor.entropy_coef 0"
        budget.tokens = 1500
        evaluate.data = ["{tmp_path}/heldout.jsonl"]
        evaluate.flags = "--max_len 64 --n 2 --k 2"
        marks = [0.5]
        [methods.GRPO]
        kind = "grpo"
        [methods.MARGE]
        kind = "marge"
        flags = "--marge.n_candidates 4 --marge.dump_dir {tmp_path}/dump"
    """

    def run(old="", new="", out=tmp_path / "out", seeds=()):
        (tmp_path / "file.toml").write_text(text.replace(old, new) if old else text)
        status = main([str(tmp_path / "file.toml"), "--out", str(out), *(["--seeds", *seeds] if seeds else [])])
        return status, capsys.readouterr()

    return run


def test_two_methods_on_the_stack_and_a_second_start_that_runs_nothing(compare, cluster, tmp_path, monkeypatch):
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    status, said = compare()
    assert status == 0, said.err
    out = tmp_path / "out"
    assert "== 2 of 2: MARGE, seed 3" in said.out and "of 1,500 generated tokens; pass rate" in said.out
    for name in ("GRPO", "MARGE"):
        folder = out / name / "seed_3"
        points = read_points(folder / "progress.jsonl")
        assert RunBudget("tokens", 1500).is_met(points) and not RunBudget("tokens", 1500).is_met(points[:-1])
        assert points[-1].optimizer_steps >= len(points) and points[-1].entropy > 0
        assert all(0 <= point.groups_with_signal <= 1 for point in points)
        assert {"run", "evaluate", "evaluate_50"} == json.loads((folder / "stages.json").read_text()).keys()
        assert (folder / "model" / "model.safetensors").is_file() and (folder / "run.log").is_file()
        assert (folder / "marks" / "50" / "model.safetensors").is_file() and not list(folder.glob("marks/*.part"))
    table = (out / "table.md").read_text()
    assert "| Method | heldout pass@1 | heldout pass@2 |" in table and "One seed (3)" in table
    assert "## Accuracy at 50 % of the budget" in table and "| entropy at the end |" in table
    assert "MARGE, seed 3 used" in table and "more than its budget of 1,500" in table  # a step is that large
    assert "\\begin{tabular}{lcc}" in (out / "table.tex").read_text()
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [(r["method"], r["metric"]) for r in rows] == [
        ("GRPO", "pass@1"), ("MARGE", "pass@1"), ("GRPO", "pass@2"), ("MARGE", "pass@2")
    ]  # fmt: skip
    assert {r["method"] for r in csv.DictReader((out / "curves.csv").open())} == {"GRPO", "MARGE"}
    assert (out / "curves.png").is_file()
    look_at(out / "MARGE" / "seed_3", tmp_path / "figures")
    status, said = compare("budget.tokens = 1500", "strict = true\n        budget.tokens = 1500")
    assert status == 2 and "== seed_3: run" not in said.out and "Evaluate:" not in said.out
    assert "strict = true, and MARGE, seed 3 used" in said.err
    status, said = compare("--marge.n_candidates 4", "--marge.n_candidates 4", seeds=["3", "4"])
    assert status == 2 and "another run writes to --marge.dump_dir" in said.err
    status, said = compare('kind = "grpo"', 'kind = "grpo"\nflags = "--actor.adam.lr 1e-4"')
    assert status == 2 and "was done with --train.seed where there is --actor.adam.lr now" in said.err


def test_a_chained_method_trains_from_the_model_before_it(compare, cluster, task, tmp_path, monkeypatch):
    """With a learning rate of 0 it ends with the very weights that MARGE ended with."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    chained = '[methods.GRPO]\nkind = "grpo"\nshare = 2\nstarts_from = "MARGE"\nflags = "--actor.adam.lr 0"'
    old = 'marks = [0.5]\n        [methods.GRPO]\n        kind = "grpo"'
    status, said = compare(old, chained)
    assert status == 0, said.err
    out = tmp_path / "out"
    folders = (task.folder, out / "MARGE" / "seed_3", out / "GRPO" / "seed_3")
    base, marge, grpo = (load_file(folder / "model" / "model.safetensors") for folder in folders)
    assert marge.keys() == grpo.keys() and all(torch.equal(marge[name], grpo[name]) for name in marge)
    assert not any(
        torch.equal(base[name].to(marge[name].dtype), marge[name]) for name in base if "proj.weight" in name
    )
    of_marge, of_grpo = (read_points(folder / "progress.jsonl")[-1].tokens for folder in folders[1:])
    table = (out / "table.md").read_text()
    assert f"is that of both, {of_marge:,} of the {of_marge + of_grpo:,} generated tokens before it." in table
    assert f"| {of_marge + of_grpo:,} |" in table and "| GRPO (after MARGE) |" in table
    status, said = compare(old, chained)
    assert status == 0 and ": run" not in said.out


def look_at(run: Path, out: Path) -> None:
    """The other commands on a run of the stack."""
    assert figures.main([str(run), "--out", str(out)]) == 0
    assert {"fig3.png", "fig5a.csv"} <= {path.name for path in out.iterdir()}
    assert report.main([str(run)]) == 0
    assert "--marge.n_candidates" in (run / "report.html").read_text()
    assert model_card.main([str(run)]) == 0
    card = (run / "model" / "README.md").read_text()
    assert "\n# MARGE, seed 3\n" in card and "Budget:\n\n- `1,500 generated tokens`" in card
    assert "`--marge.n_candidates 4`" in card and "| heldout | pass@2 | not evaluated |" in card


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--k 2", "--k 3", r"\[evaluate\] does not work: .*--k 3 must lie between 1 and --n 2"),
        ("--k 2", "--kk 2", r"\[evaluate\] does not work: .*unrecognized arguments: --kk 2"),
        ("evaluate.flags", "evaluate.metrics = ['pass@8']\nevaluate.flags", "has 'pass@8'; with .* there are pass@1"),
        ("heldout.jsonl", "empty.jsonl", r"\[evaluate\]: --data .*empty.jsonl has no"),
        ('kind = "grpo"', 'run = "/nowhere"', r"\[methods.GRPO\]: /nowhere is no folder"),
        ('kind = "grpo"', 'model = "/nowhere"', r"\[methods.GRPO\]: --model /nowhere is neither the folder"),
        ('"grpo"', '"grpo"\nflags = "--adam.lrr 1"', r"\[methods.GRPO\]: .*unrecognized arguments: --adam.lrr"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(compare, tmp_path, old, new, said):
    (tmp_path / "empty.jsonl").write_text("")
    status, printed = compare(old, new)
    assert status == 2
    assert re.search(said, printed.err) and str(tmp_path / "file.toml") in printed.err
    assert printed.err.count("\n") == 1, printed.err
    assert not list(tmp_path.glob("out/*/*/run.log"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--train.async_enable", "--train.async_enable does not work with a budget"),
        ("--data.label_key lable", "--data.prompt_dataset .* has no column 'lable'"),
        ("--experience_maker marge --marge.n_candidates 0", "--marge.n_candidates is 0; it must be at least 1"),
        ("--algo.advantage.estimator rloo --rollout.n_samples_per_prompt 1", "rloo requires n_samples_per_prompt > 1"),
        ("--actor.model_name_or_path /nowhere", "--model /nowhere is neither the folder"),
    ],
)
def test_launches_are_checked_by_openrlhf_and_for_what_a_budget_cannot_count(task, tmp_path, monkeypatch, more, said):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    launch_check.check(task.flags(tmp_path))
    with pytest.raises(ValueError, match=said):
        launch_check.check([*task.flags(tmp_path), *more.split()])


@pytest.mark.parametrize("base", [LocalPPOTrainer, MargeTrainer])
def test_a_run_that_goes_on_has_used_what_it_had_up_to_its_checkpoint(tmp_path, monkeypatch, base):
    monkeypatch.setattr(LocalPPOTrainer, "init_checkpoint_states", lambda self: {"global_step": 2})
    progress = tmp_path / "progress.jsonl"
    write_points(progress, [ProgressPoint(updates=i, tokens=10 * i) for i in (1, 2, 3)])
    trainer = object.__new__(metered(base, RunBudget("tokens", 100), progress))
    MeteredTrainer.init_checkpoint_states(trainer)
    assert [p.tokens for p in read_points(progress)] == [10, 20]
    order = type(trainer).mro()  # what MARGE's trainer adds to the log is there when the metered one sees it
    assert order.index(MeteredTrainer) + 1 == order.index(LocalPPOTrainer)


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """A trainer with marks of 40, 50 and 90 of 100 tokens, without the stack: (points so far) -> it, what it saved."""
    saved = []
    monkeypatch.setattr(metered_module, "save_policy", lambda group, folder: saved.append(folder.name))
    monkeypatch.setattr(metered_module, "taken_steps", lambda group: 7)
    monkeypatch.setattr(LocalPPOTrainer, "save_logs_and_checkpoints", lambda *_: saved.append("checkpoint"))

    def trainer(done=0, dynamic=False):
        monkeypatch.setattr(LocalPPOTrainer, "init_checkpoint_states", lambda self: {"global_step": done})
        kind = metered(LocalPPOTrainer, RunBudget("tokens", 100), tmp_path / "progress.jsonl", (0.4, 0.5, 0.9))
        made = object.__new__(kind)
        made.actor_model_group, made._meter = None, SimpleNamespace(take=lambda: {})
        made.args = SimpleNamespace(train=SimpleNamespace(dynamic_batch_enable=dynamic))
        made.init_checkpoint_states()
        return made, saved

    return trainer


def update(trainer, step, samples=3.0, **more):
    logs = more | {"rollout/num_samples": samples, "rollout/response_length_mean": 10.0, "rollout/reward_mean": 0.5}
    trainer.save_logs_and_checkpoints(step, logs | {"timing/step_total": 1.0}, {})


def test_a_mark_is_kept_once_before_the_checkpoint_that_counts_on_it(marked, tmp_path):
    trainer, saved = marked()
    for step in (1, 2, 3):
        update(trainer, step)
    assert saved == ["40", "checkpoint", "50", "checkpoint", "90", "checkpoint"]
    assert [p.optimizer_steps for p in read_points(tmp_path / "progress.jsonl")] == [7, 7, 7]


@pytest.mark.parametrize(("dynamic", "known"), [(False, 0.5), (True, None)])
def test_the_entropy_of_dynamic_batches_is_not_known(marked, tmp_path, dynamic, known):
    """OpenRLHF's number is then the entropy over the number of micro-batches."""
    trainer, _ = marked(dynamic=dynamic)
    update(trainer, 1, entropy_loss=0.5)
    assert [p.entropy for p in read_points(tmp_path / "progress.jsonl")] == [known]


def test_a_run_that_goes_on_keeps_its_marks_and_saves_anew_what_it_does_anew(marked, tmp_path):
    trainer, saved = marked()
    for step in (1, 2, 3):
        update(trainer, step)
        (tmp_path / "marks" / saved[-2]).mkdir(parents=True)
    del saved[:]
    trainer, _ = marked(done=1)  # the checkpoint of the first update: the others are made again
    assert [folder.name for folder in (tmp_path / "marks").iterdir()] == ["40"]
    update(trainer, 2)
    assert saved == ["50", "checkpoint"]
    (tmp_path / "marks" / "40").rmdir()
    with pytest.raises(
        ValueError, match=r"--budget.marks 0.4 was met at update 1, before the checkpoint to go on from"
    ):
        marked(done=2)


class Generator:
    """As OpenRLHF's: responses of 3, 4 and 5 tokens, of which filtering leaves the last; evaluation has its own."""

    def _process_response_into_experience(self, response, **kwargs):
        return SimpleNamespace(response_length=torch.tensor([response]), rewards=torch.tensor([float(response > 3)]))

    def generate_samples(self, **kwargs):
        return [self._process_response_into_experience(n, **kwargs) for n in (3, 4, 5)][2:]

    def generate_eval_samples(self):
        self._process_response_into_experience(100)


def test_what_filtering_drops_is_counted_and_what_evaluation_samples_is_not():
    generator = Generator()
    meter = SamplingMeter(generator)
    assert len(meter.generate(temperature=1.0)) == 1
    generator.generate_eval_samples()
    taken = meter.take()
    assert taken["rollout/sampled_tokens"] == 12 and 0 < taken["rollout/sampling_seconds"] < 60
    assert taken["rollout/sampled_reward_mean"] == pytest.approx(2 / 3)
    assert meter.take() == {"rollout/sampled_tokens": 0, "rollout/sampling_seconds": 0}


def test_dropped_responses_are_tokens_and_seconds_of_a_run():
    logs = {"rollout/num_samples": 2.0, "rollout/response_length_mean": 10.0, "rollout/reward_mean": 0.5}
    logs |= {"timing/step_total": 3.0, "timing/generation": 1.0}
    plain = advanced(ProgressPoint(), logs)
    assert (plain.samples, plain.tokens, plain.seconds, plain.pass_rate) == (2, 20, 3.0, 0.5)
    assert advanced(ProgressPoint(), logs | {"rollout/sampled_reward_mean": 0.125}).pass_rate == 0.125
    filtered = advanced(ProgressPoint(), logs | {"rollout/sampled_tokens": 55.0, "rollout/sampling_seconds": 5.0})
    # 4 of the seconds were in rollouts of which none was left.
    assert (filtered.samples, filtered.tokens, filtered.seconds) == (2, 55, 7.0)


def test_of_responses_without_difference_in_their_groups_none_has_signal(monkeypatch):
    monkeypatch.setattr(LocalPPOTrainer, "_compute_rollout_stats", lambda self, experiences: {"x": 1.0})
    trainer = object.__new__(metered(LocalPPOTrainer, RunBudget("tokens", 100), Path("p")))
    of = [SimpleNamespace(info={"group_reward_std": torch.tensor(stds)}) for stds in ([0.0, 0.5, 0.5], [0.0])]
    assert trainer._compute_rollout_stats(of) == {"x": 1.0, "rollout/samples_with_signal": 0.5}
    assert trainer._compute_rollout_stats([SimpleNamespace(info={})]) == {"x": 1.0}


def test_the_seconds_of_several_rollouts_add_up(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(
        "openrlhf_marge.host.training.sampling_meter.time", SimpleNamespace(monotonic=lambda: next(clock))
    )
    meter = SamplingMeter(SimpleNamespace(generate_samples=lambda: [], _process_response_into_experience=None))
    meter.generate(), meter.generate()
    assert meter.take()["rollout/sampling_seconds"] == 5.0

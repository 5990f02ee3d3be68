"""The map's rows, and the tables that are made of them alone."""

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path += [str(EXAMPLES), str(EXAMPLES / "map")]

import differences  # noqa: E402
import overview  # noqa: E402
import plans  # noqa: E402
import quickstart  # noqa: E402
import quickstart_dpo  # noqa: E402
import run  # noqa: E402
import tables  # noqa: E402
from regimes import Regime  # noqa: E402
from rows import MapTrial, Row, add_rows, add_trials, check_used, chosen  # noqa: E402

from openrlhf_marge.compare.tuning import TrialRow  # noqa: E402
from openrlhf_marge.data.files import read_records  # noqa: E402
from openrlhf_marge.loop import KINDS  # noqa: E402
from openrlhf_marge.loop.checks import check_train_flags  # noqa: E402
from openrlhf_marge.method import recommendation  # noqa: E402
from openrlhf_marge.method.presets import PRESETS  # noqa: E402


def row(method="GRPO", seed=0, pass_1=0.5, mark=1.0, regime="hard", **more) -> Row:
    return Row(regime=regime, method=method, seed=seed, mark=mark, pass_1=pass_1, pass_8=0.75, **more)


def runs(method, scores, **more):
    return [row(method, seed, score, **more) for seed, score in enumerate(scores)]


def test_rows_come_back_sorted_and_whole(tmp_path):
    path = tmp_path / "rows.csv"
    full = row(
        "frontier, negatives 0", tokens=300_000, updates=30, optimizer_steps=60, groups_with_signal=0.5, entropy=0.25,
        pass_64=0.875, seconds=40.5, curve="100:0.5 200:0.625", flags="--a b", commit="abc",
    )  # fmt: skip
    assert read_records(path, Row) == []
    add_rows(path, [row(seed=1), row(seed=0)])
    add_rows(path, [full, row(mark=0.25)])
    assert read_records(path, Row) == [row(mark=0.25), row(), row(seed=1), full]


def test_a_row_that_is_none_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    add_rows(path, [row()])
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(ValueError, match=r"rows.csv, line 2: could not convert string to float: 'half'; mend the row"):
        read_records(path, Row)


def test_what_has_its_rows_is_not_planned_again(tmp_path):
    path, regime = tmp_path / "rows.csv", next(iter(run.REGIMES))
    add_rows(path, [row(regime=regime)])
    args = run.parse_args(
        ["--rows", str(path), "--regimes", regime, "--methods", "GRPO", "frontier", "--seeds", "0", "1"]
    )
    assert [(r.name, method, seed) for r, method, seed in run.planned(args)] == [
        (regime, "frontier", 0), (regime, "GRPO", 1), (regime, "frontier", 1)
    ]  # fmt: skip


def test_every_method_of_a_tier_is_in_one_of_the_compare_files(tmp_path, monkeypatch):
    from openrlhf_marge.compare import read_plan

    for name in ("BASE", "MAX_LEN", "PROBLEMS", "REWARD", "REWARD_FILE", "HELDOUT"):
        monkeypatch.setenv(f"MAP_{name}", "1")
    files = [read_plan(EXAMPLES / "map" / file, tmp_path, [0]) for file in (plans.METHODS, plans.PAIRS)]
    names = [m.name for plan in files for m in plan.methods]
    former = ["frontier, n = 8", "frontier, n = 8, negatives 0"]  # of few, whose rows stay
    assert sorted(names) == sorted([*former, *(name for tier in run.TIERS.values() for name in tier)])
    assert [plan.marks for plan in files] == [(0.25, 0.5), ()]
    marks, end = (plan.evaluate for plan in files)
    assert (marks.data, marks.flags) == (end.data, end.flags)  # all are evaluated alike at the end


def trial(method, flags, score, seed=100, regime="xhard") -> MapTrial:
    return MapTrial(regime=regime, method=method, flags=flags, seed=seed, score=score, tokens=1, commit="abc")


def test_the_best_trial_of_a_regime_is_chosen_by_its_mean_over_seeds():
    trials = [trial("GRPO", "--a", 0.5), trial("GRPO", "--a", 0.1, 101), trial("GRPO", "--b", 0.4)]
    trials += [trial("GRPO", "--c", 0.9, regime="easy"), trial("frontier", "--d", 0.1), trial("frontier", "--e", 0.1)]
    assert chosen(trials, "xhard") == {"GRPO": "--b", "frontier": "--d"}
    assert chosen(trials, "few") == {}


def test_a_trial_made_again_keeps_its_place(tmp_path):
    path = tmp_path / "trials.csv"
    of_one = [TrialRow(method="GRPO", flags=f, seed=100, score=0.5, tokens=1, commit="abc") for f in ("--a", "--b")]
    add_trials(path, "xhard", of_one)
    add_trials(path, "easy", of_one[:1])
    add_trials(path, "xhard", [replace(of_one[0], score=0.75)])
    found = read_records(path, MapTrial)
    assert [(t.regime, t.flags, t.score) for t in found] == [
        ("easy", "--a", 0.5), ("xhard", "--a", 0.75), ("xhard", "--b", 0.5)
    ]  # fmt: skip


XHARD = (
    ("Before", ""),
    ("GRPO", "--actor.adam.lr 1e-4 --rollout.n_samples_per_prompt 4 --rollout.batch_size 24"),
    ("MARGE, paper", "--actor.adam.lr 1e-4 --marge.preset paper --marge.share_prefix"),
    (
        "VinePPO",  # batches of 8 in place of 96: 1e-4 times the root of 8 / 96
        "--actor.adam.lr 2.9e-05 --marge.explore vineppo --marge.vine_samples 9 --rollout.n_samples_per_prompt 4 "
        "--rollout.batch_size 2 --train.batch_size 8 --train.micro_batch_size 8 --rollout.micro_batch_size 8 "
        "--marge.share_prefix",
    ),
    (
        "frontier",
        "--marge.preset frontier --marge.share_prefix --actor.adam.lr 1e-4 --marge.frontier_probe 2",
    ),
    (
        "frontier, negatives 0",
        "--marge.preset frontier --marge.share_prefix --actor.adam.lr 1e-4 --marge.frontier_probe 2 "
        "--marge.preset frontier --marge.negative_weight 0 --marge.share_prefix",
    ),
)


@pytest.mark.parametrize(("name", "flags"), XHARD)
def test_a_method_has_the_flags_that_the_committed_trials_chose(tmp_path, name, flags):
    plan = plans.read_methods(run.REGIMES["xhard"], tmp_path, tmp_path)
    method = next(m for m in plan.methods if m.name == name)
    assert plans.flags_of(plans.at_its_best(method, run.REGIMES["xhard"], plan)) == flags


def test_a_regime_without_trials_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "TRIALS", tmp_path / "trials.csv")
    with pytest.raises(ValueError, match="has no trials of GRPO and frontier in easy; run this with --tune first"):
        plans.plan_of(run.REGIMES["easy"], "GRPO", 0, tmp_path)
    assert not list(tmp_path.iterdir())  # before a base model is trained


def test_rows_of_other_flags_than_a_new_run_would_have_are_named(tmp_path):
    """A new trial may have chosen others since; the rows of a method are averaged."""
    regime = run.REGIMES["easy"]
    now = plans.flags_of(plans.plan_of(regime, "PPO", 0, tmp_path).methods[0])
    assert now == "--actor.adam.lr 3e-4"
    rows = [row("PPO", seed, regime="easy", flags=f) for seed, f in ((3, "--old 1"), (4, now), (0, ""))]
    (said,) = plans.with_other_flags(rows, [(regime, "PPO"), (regime, "GRPO")], tmp_path)
    assert said.startswith("easy, PPO: the rows of the seeds 0, 3 have other flags than '--actor.adam.lr 3e-4' of a n")
    assert not list(plans.with_other_flags(rows[1:2], [(regime, "PPO")], tmp_path))


def test_a_run_that_did_not_use_its_budget_leaves_no_row():
    with pytest.raises(ValueError, match=r"^SFT, seed 5 generated 134,368 of 300,000 tokens, as a loop does whose"):
        check_used("SFT, seed 5", 134_368, 300_000)
    check_used("SFT, seed 5", 270_000, 300_000)
    least = min(
        (r.tokens / run.REGIMES[r.regime].tokens, r.run) for r in read_records(run.ROWS, Row) if r.tokens is not None
    )
    assert least[0] >= 0.9, least


def test_a_method_with_fewer_trials_than_the_other_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "TRIALS", tmp_path / "trials.csv")
    trials = [
        TrialRow(method=method, flags=f"--actor.adam.lr {lr}", seed=100, score=0.5, tokens=1, commit="a")
        for method, rates in (("GRPO", ("1e-4", "3e-4")), ("frontier", ("1e-4",)))
        for lr in rates
    ]
    add_trials(plans.TRIALS, "easy", trials)
    add_trials(plans.TRIALS, "hard", trials[:1] + trials[2:])
    with pytest.raises(
        ValueError, match=r"in unequal numbers, 2 of GRPO and 1 of frontier; run --tune without --methods"
    ):
        plans.best_of(run.REGIMES["easy"], ["GRPO", "frontier"])
    best = plans.best_of(run.REGIMES["hard"], ["GRPO", "frontier"])
    assert best == {"GRPO": "--actor.adam.lr 1e-4", "frontier": "--actor.adam.lr 1e-4"}


def test_trials_of_a_method_that_has_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--methods PPO: methods.toml has trials of GRPO; frontier"):
        run.tune(run.REGIMES["easy"], tmp_path, ["PPO"])
    assert not list(tmp_path.iterdir())


def test_a_loop_needs_no_trials_and_its_row_has_the_flags_of_its_stages(tmp_path):
    regime = run.REGIMES["Countdown easy"]
    plan = plans.read_methods(regime, tmp_path, tmp_path, file=plans.PAIRS)
    loop = next(m for m in plan.methods if m.name == "MARGE-DPO")
    assert plans.at_its_best(loop, regime, plan) is loop
    assert plans.flags_of(loop) == (
        "--explore '--marge.guidance_source fresh' --pairs '--min_value 0.1 --max_value 0.9 --pairs_per_state 4'"
    )


def test_flags_of_several_lines_are_one_line_of_a_row(tmp_path):
    regime = run.REGIMES["easy"]
    plan = plans.read_methods(regime, tmp_path, tmp_path)
    method = next(m for m in plan.methods if m.name == "SPO-tree")
    assert plans.flags_of(plans.at_its_best(method, regime, plan)) == (
        "--actor.adam.lr 0.00021 --marge.explore spo_tree --marge.spo_branches 4 4 4 --marge.spo_segment 15 "
        "--rollout.batch_size 6 --train.batch_size 48 --marge.share_prefix"
    )


@pytest.mark.usefixtures("warm_commands")
def test_openrlhf_reads_the_training_flags_of_the_loops(tmp_path):
    """Of the map and of the DPO quickstart, which do not reach their training before minutes have passed."""
    loop = plans.read_methods(run.REGIMES["easy"], tmp_path, tmp_path, file=plans.PAIRS).loop
    check_train_flags(KINDS["marge"], shlex.split(loop.train))
    check_train_flags(KINDS["sft"], shlex.split(quickstart_dpo.stage_flags(tmp_path, "sft", 0)["train"]))


@dataclass(frozen=True, kw_only=True)
class Given(Regime):
    """Begins with a model that is there."""

    folder: Path

    def prepare(self, folder, seed):
        (folder / f"seed_{seed}").mkdir(parents=True)
        for name, held in (("model", "model"), ("train.jsonl", "train.jsonl"), ("heldout_96.jsonl", "heldout.jsonl")):
            (folder / f"seed_{seed}" / name).symlink_to(self.folder / held)


def test_a_small_map_on_the_stack_by_one_command(cluster, task, tmp_path, monkeypatch):
    """Half of the responses to untrained models' problems are graded as correct; the evaluation finds next to none."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    small = Given(
        name="easy", task=run.REGIMES["easy"].task, tokens=1000, problems=12, folder=task.folder,
        reward_file=str(task.folder / "reward.py"),
    )  # fmt: skip
    monkeypatch.setitem(run.REGIMES, "easy", small)
    command = ["--regimes", "easy", "--methods", "TreeRL", "--seeds", "0", "--out", str(tmp_path / "runs")]
    said = run.work(run.parse_args([*command, "--rows", str(tmp_path / "rows.csv")]))
    assert said == f"{tmp_path}: rows.csv, tables.md; map.png needs 5 seeds of a method"
    found = read_records(tmp_path / "rows.csv", Row)
    assert [(r.run, r.mark) for r in found] == [(("easy", "TreeRL", 0), mark) for mark in (0.25, 0.5, 1.0)]
    *early, end = found
    assert [r.pass_64 for r in early] == [None, None] and end.pass_1 <= end.pass_8 <= end.pass_64 < 1
    assert end.pass_1 < 0.1
    # The first update takes more than the whole budget, so its model is that of all marks.
    assert end.updates == 1 and [r.used for r in found] == [round(end.tokens / 1000, 4)] * 3
    assert found[0].tokens >= 1000 and found[0].optimizer_steps >= 2 and 0 < found[0].groups_with_signal <= 1
    assert found[0].flags == "--actor.adam.lr 3e-4 --marge.explore tree_rl --marge.share_prefix"
    assert f"| TreeRL | {100 * end.pass_1:.1f} (1) |" in (tmp_path / "tables.md").read_text()


FIVE = (0.5, 0.52, 0.48, 0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            (0.6, 0.63, 0.57, 0.6, 0.6),
            "frontier is +10.0 points from GRPO [+9.1, +10.9] with 5 seeds: it is above, also when all are asked at "
            "once (Holm).",
        ),
        (
            (0.52, 0.59, 0.6, 0.62, 0.52),
            "frontier is +7.0 points from GRPO [+0.8, +13.2] with 5 seeds, but not when all are asked at once (Holm), "
            "so they show no difference.",
        ),
        (
            (0.5, 0.4, 0.5, 0.6, 0.5),
            "frontier is +0.0 points from GRPO [-9.8, +9.8] with 5 seeds, which show no difference.",
        ),
        (
            (0.3, 0.34, 0.26, 0.3),
            "frontier is -20.0 points from GRPO [-22.6, -17.4] with 4 seeds; nothing is claimed from fewer than 5.",
        ),
        ((0.9,), "frontier and GRPO have 1 common seeds, which show nothing."),
    ],
)
def test_a_sentence_says_no_more_than_the_interval(scores, said):
    found = runs("GRPO", FIVE) + runs("frontier", scores) + runs("SFT", (0.51, 0.5, 0.5, 0.49, 0.5))
    stays = ("frontier", "hard") in differences.shown_at_once(found)
    assert tables.sentence("frontier", tables.by_run(found)["hard"], stays) == said


def test_the_table_of_a_regime():
    early = [replace(r, mark=0.25) for r in runs("GRPO", (0.2, 0.3)) + runs("frontier", (0.3, 0.42))]
    early[2:] = replace(early[2], used=0.211), replace(early[3], used=0.267)
    trained = dict(tokens=3000, updates=30, optimizer_steps=60, groups_with_signal=0.5, entropy=0.25, pass_64=1.0)
    trained |= {"groups_after_s0": 0.125, "used": 1.002}
    end = runs("GRPO", (0.5, 0.6), **trained) + runs("frontier", (0.6, 0.6), **trained)
    text = tables.regime_text(early + end + [row("Before", 0, 0.1)], "hard", set())
    assert "| frontier | 2 | 36.0 ± 6.0 |  | 60.0 ± 0.0 | 75.0 ± 0.0 | 100.0 ± 0.0 | +11.0 [-1.7, +23.7] |" in text
    assert "+5.0 [-58.5, +68.5] | 21 to 27, 100 | 100 ± 0 | 60 ± 0 | 50.0 ± 0.0 | 12.5 ± 0.0 | 0.250 ± 0.000 |" in text
    assert "- frontier is +5.0 points from GRPO" in text and "- GRPO is" not in text and "- Before is" not in text


def test_the_first_table_has_every_method_in_every_regime_and_says_what_made_it():
    facts = dict(machine="2 CPUs", commit="aa")
    end = runs("GRPO", (0.5, 0.6), day="2026-01-02", **facts) + runs("SFT", (0.25,), day="2026-01-01", **facts)
    other = replace(row(regime="easy", pass_1=0.9), day="2026-01-03", commit="bb", machine="1 GPU")
    assert overview.overview([*end, row(mark=0.25), other]) == (
        "## pass@1 at the end of the budget, % (seeds)\n\n"
        "| Method | hard | easy |\n| --- | --- | --- |\n"
        "| GRPO | 55.0 ± 5.0 (2) | 90.0 (1) |\n| SFT | 25.0 (1) |  |\n\n"
        "Runs of 2026-01-01 to 2026-01-03; commits aa, bb; machines: 2 CPUs; 1 GPU.\n"
    )
    assert overview.overview([]) == ""


def test_all_differences_stand_in_one_table_and_bold_are_those_that_stay_when_all_are_asked():
    """Of two intervals that leave 0 out, one of p = 0.04 and one of p < 0.001, the second alone stays among three."""
    found = [
        *runs("GRPO", FIVE), *runs("MARGE, fresh", (0.52, 0.59, 0.6, 0.62, 0.52)),
        *runs("frontier", [s + d for s, d in zip(FIVE, (0.1, 0.11, 0.09, 0.1, 0.1), strict=True)]),
        *runs("SFT", FIVE), *runs("DPO", (0.9, 0.92)), row("Before", 0, 0.1),
        row("GRPO", regime="easy"), row("frontier", regime="easy"),
    ]  # fmt: skip
    assert differences.of_all(found) == (
        "## pass@1 at the end minus GRPO's, points, 95 % interval (common seeds)\n\n"
        "| Method | hard | easy |\n| --- | --- | --- |\n"
        "| MARGE, fresh | +7.0 [+0.8, +13.2] (5) |  |\n"
        "| frontier | **+10.0 [+9.1, +10.9] (5)** | +0.0 [n/a] (1) |\n"
        "| SFT | +0.0 [+0.0, +0.0] (5) |  |\n"
        "| DPO | +40.0 [n/a] (2) |  |\n\n"
        "Bold: 0 is still outside when all 3 intervals of at least 5 seeds are asked at once (Holm). Of fewer seeds "
        "nothing is claimed.\n"
    )
    assert differences.of_all([]) == differences.of_all([row("GRPO"), row("Before")]) == ""


def test_the_tables_can_be_made_without_rows(tmp_path):
    tables.write([], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tables.md"]


def test_the_picture_has_a_row_for_a_regime_with_seeds_enough_and_begins_before_training():
    early = [row(seed=seed, mark=0.25, pass_1=0.3) for seed in range(5)]
    one, four = row("x", regime="easy"), runs("frontier", (0.5,) * 4)  # of so few seeds nothing is claimed
    before = runs("Before", (0.1,) * 5)
    picture = tables.picture([*before, *early, *runs("GRPO", (0.5,) * 5), *four, one])
    hard, _ = picture.panels
    assert picture.columns == 2 and hard.title == "hard, ± standard error"
    (line,) = hard.lines
    assert [(p.x, p.y) for p in line.points] == [(0.0, 10.0), (25.0, 30.0), (100.0, 50.0)]


def test_a_curve_begins_with_the_base_models_of_its_own_seeds():
    before = runs("Before", (0.1, 0.2, 0.3, 0.2, 0.2, 0.8))
    hard, _ = tables.picture([*before, *runs("GRPO", (0.5,) * 5)]).panels
    assert [point.y for point in hard.lines[0].points] == [pytest.approx(20.0), 50.0]
    hard, _ = tables.picture([*before[1:], *runs("GRPO", (0.5,) * 5), row("GRPO", mark=0.5)]).panels
    assert [point.y for point in hard.lines[0].points] == [50.0, 50.0]  # the mean of four would be another start


def test_tables_are_written_beside_the_rows_and_a_picture_where_there_is_something_to_draw(tmp_path):
    assert (
        tables.write([], tmp_path)
        == tables.write([row()], tmp_path)
        == ("tables.md; map.png needs 5 seeds of a method")
    )
    assert tables.write(runs("GRPO", FIVE), tmp_path) == "tables.md, map.png"
    assert {p.name for p in tmp_path.iterdir()} == {"tables.md", "map.png"}


def test_the_picture_of_differences_has_the_intervals_of_the_table():
    four = runs("MARGE, fresh", (0.9,) * 4)  # of so few seeds no interval is drawn
    _, differences = tables.picture(
        runs("GRPO", FIVE)
        + four
        + runs("frontier", [s + d for s, d in zip(FIVE, (0.1, 0, 0.1, 0.1, 0.1), strict=True)])
    ).panels
    (baseline,), (frontier,) = (line.points for line in differences.lines)
    assert (baseline.x, baseline.y, baseline.error) == (100, 0, 0)
    assert frontier.x == 100.7 and [round(v, 1) for v in frontier[1:]] == [8.0, 5.6]  # of +8.0 [+2.4, +13.6]


ROWS_OF = {"paper": "MARGE, paper", "frontier": "frontier"}  # preset -> the method that has it alone
REGIMES_SHOWN: dict[float, str] = {}  # the share of problems without a correct response there -> the regime


def test_the_quickstart_takes_the_recommended_preset_and_says_why(capsys, monkeypatch):
    assert quickstart.preset_flags({"pass@8": 0.05}, []) == []
    assert capsys.readouterr().out == (
        "   of the held-out problems 95% have no correct response among 8; for such data the map (examples/map) shows "
        "no preset above GRPO: this run has the paper's settings\n"
    )
    monkeypatch.setattr(recommendation, "SHOWN", ((0.9, "frontier"),))
    assert quickstart.preset_flags({"pass@8": 0.05}, []) == [
        "--marge.preset", "frontier", "--marge.expected_states", "1.05",
    ]  # fmt: skip
    assert capsys.readouterr().out == (
        "   of the held-out problems 95% have no correct response among 8; for such data the map (examples/map) "
        "recommends --marge.preset frontier, which this run has\n"
    )
    assert quickstart.preset_flags({"pass@8": 0.84}, ["--train.batch_size", "96"]) == []
    assert "shows no preset above GRPO: this run has the paper's settings" in capsys.readouterr().out
    assert quickstart.preset_flags({"pass@8": 0.05}, ["--marge.n_states", "3"]) == []


def test_what_the_rows_show_is_recommended_and_nothing_else():
    """A preset is shown where, at the end of the budget, at least five seeds have it above GRPO with the lower end of
    their interval."""
    shown = {
        (regime, preset)
        for regime, runs in tables.by_run(read_records(run.ROWS, Row)).items()
        for preset, method in ROWS_OF.items()
        if len(runs.get(method, {}).keys() & runs["GRPO"].keys()) >= differences.LEAST_SEEDS
        and differences.difference(method, runs).bounds[0] > 0
    }
    assert ROWS_OF.keys() == PRESETS.keys()
    recommended = dict(recommendation.SHOWN)
    assert recommended.keys() == REGIMES_SHOWN.keys()
    assert shown == {(regime, recommended[share]) for share, regime in REGIMES_SHOWN.items()}

"""The paper's figures from runs' own data: statistics and CSV by literal values, pictures by being there."""

import csv
import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from openrlhf_marge.cli.figures import main
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.figures import dump_totals
from openrlhf_marge.figures.accuracy import Accuracy, accuracy
from openrlhf_marge.figures.clustered import Clustered
from openrlhf_marge.figures.dump_totals import read_totals
from openrlhf_marge.figures.fig1_6_scaling import converged, table_7
from openrlhf_marge.figures.plot import Point
from openrlhf_marge.figures.runs import find_policies, read_run
from openrlhf_marge.figures.trend import fit
from openrlhf_marge.method.metrics import pairs_per_token, state_values

from figure_runs import log, loop, rl_run, rollout
from scripted_dumps import mixed, problem, visit, write_dump

LOG_2 = [Point(1000 * x, 50 + 2 * math.log(x)) for x in (1, 2, 4, 8)]


def rows(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.reader(file))


def read(folder):
    return read_run("run", folder, find_policies(folder), lambda rows: None)


def draw(out, *runs):
    return main([*map(str, runs), "--out", str(out)])


@pytest.mark.parametrize("batch_rows", [1, 3, 8192])
def test_sums_of_a_file_are_those_of_the_log(tmp_path, monkeypatch, batch_rows):
    monkeypatch.setattr(dump_totals, "BATCH_ROWS", batch_rows)
    groups = [*rollout(1, 2, 4), *rollout(3, 0, 0, guidance=False), *rollout(2, guidance=None)]
    write_dump(tmp_path, groups)
    told = []
    found = read_totals(tmp_path / "rollout-00000001.parquet", told.append)
    assert sum(told) == found.completions == 28
    assert found.tokens == sum(len(c.token_ids) for g in groups for c in g.completions)
    logged = pairs_per_token(groups)
    assert found.diversity == pytest.approx(logged["marge/outcome_diversity_per_1k_tokens"] * found.tokens / 1000)
    assert found.valid_pairs == 1 + 2 + 0 + 1 + 0 + 0 + 2
    means = {f"marge/value_{kind}/state_{index}": v.mean for (kind, index), v in found.values.items()}
    assert means == {name: value for name, value in state_values(groups).items() if "state_" in name}


def test_errors_of_numbers_that_are_each_a_cluster_are_the_usual_ones():
    whole = Clustered.apart([0.25, 0.5, 0.75, 1.0])
    assert (whole.mean, whole.error) == (0.625, pytest.approx(np.std([0.25, 0.5, 0.75, 1.0], ddof=1) / 2))
    assert Clustered.apart([0.5]).error is None


def test_a_problem_that_comes_again_with_equal_values_makes_the_mean_no_more_certain():
    once = Clustered(np.array([0.25, 0.75]), np.array(["a", "b"], dtype=object))
    assert Clustered.joined([once] * 9).error == pytest.approx(once.error) == 0.25
    assert Clustered.joined([once] * 9).count == 18
    assert Clustered(np.array([0.25, 0.75]), np.array(["a", "a"], dtype=object)).error is None
    # Residuals -0.25, 0.25 and 0; by problem 0 and 0.
    mixed = Clustered(np.array([0.25, 0.75, 0.5]), np.array(["a", "a", "b"], dtype=object))
    assert mixed.error == 0.0


def test_errors_by_problem_hold_the_truth_where_problems_come_again():
    """Values of 200 problems whose chances of success differ, four visits each: of errors by visit too few do."""
    rng, by_problem, by_visit = np.random.default_rng(0), [], []
    names = np.repeat(np.arange(200).astype(object), 4)
    for _ in range(300):
        chances = np.repeat(rng.beta(2, 2, 200), 4)
        values = rng.binomial(8, chances) / 8
        for found, held in ((Clustered(values, names), by_problem), (Clustered.apart(values), by_visit)):
            held.append(abs(found.mean - 0.5) < 1.96 * found.error)
    assert np.mean(by_problem) > 0.92 > 0.8 > np.mean(by_visit)


def test_a_fit_finds_the_coefficients_of_known_data():
    trend = fit(LOG_2)
    assert (trend.c1, trend.c2, trend.r2) == (pytest.approx(50), pytest.approx(2), pytest.approx(1))
    assert trend.saturation is None and converged(Accuracy("x", tuple(LOG_2))) == LOG_2[-1]
    noisy = fit([p._replace(y=p.y + e) for p, e in zip(LOG_2, (0.1, -0.1, -0.1, 0.1), strict=True)])
    assert (noisy.c1, noisy.c2) == (pytest.approx(50), pytest.approx(2))
    # Squares: of the residuals 4 * 0.01; of the trend (2 ln 2)^2 * 5, with these residuals orthogonal to it.
    assert noisy.r2 == pytest.approx(1 - 0.04 / (0.04 + 5 * (2 * math.log(2)) ** 2)) == pytest.approx(0.9959, abs=1e-4)
    # t of two degrees of freedom times the error of the slope: sqrt(0.04 / 2 / (5 ln(2)^2)).
    assert noisy.margin == pytest.approx(4.302653 * math.sqrt(0.02 / 5) / math.log(2))
    assert str(noisy) == "y = 50.0 + 2.00 ln(x/1000), R\u00b2 = 1.00"


def test_a_fit_is_level_from_saturation_on():
    level = [
        *LOG_2,
        *(p._replace(x=1000.0 * x, y=LOG_2[-1].y) for p, x in zip([LOG_2[-1]] * 3, (9, 10, 11), strict=True)),
    ]
    trend = fit(level)
    assert (trend.c1, trend.c2, trend.saturation) == (pytest.approx(50), pytest.approx(2), 8000)
    assert trend.at(8000) == trend.at(11000) == pytest.approx(LOG_2[-1].y)
    # One high point among those of the level part is not where it converged.
    lucky = [p._replace(y=p.y + e) for p, e in zip(level, (0, 0, 0, 0, 0, 0.3, 0), strict=True)]
    end = converged(Accuracy("x", tuple(lucky)))
    assert end.x == 8000 and LOG_2[-1].y < end.y < LOG_2[-1].y + 0.15


def test_where_noise_hides_the_slope_there_is_no_fit_and_the_last_point_stands_for_the_run():
    points = [Point(1000 * x, y, 1.0) for x, y in ((1, 50.0), (2, 53.0), (3, 49.0), (4, 52.5), (5, 50.5))]
    assert fit(points) is None and table_7({"run": Accuracy("x", tuple(points))}).rows == []
    assert converged(Accuracy("x", tuple(points))) == points[-1]
    assert fit([]) is fit(LOG_2[:2]) is None  # two points lie on a line whatever they are
    assert fit([p._replace(y=50.0) for p in LOG_2]) is None
    assert fit([LOG_2[0], LOG_2[0], LOG_2[1]]) is None


def test_accuracy_is_held_out_where_the_log_has_it(tmp_path):
    log(
        tmp_path, train__rollout__num_samples=[100, 200, 300], train__rollout__reward_mean=[0.1, 0.2, 0.3],
        eval__eval_math_pass1=[0.25, 0.5, 0.75], eval__eval_gsm_pass1=[0.5, 0.5, 0.5],
    )  # fmt: skip
    found = accuracy(read(tmp_path))
    assert found.source == "held-out pass@1 (gsm, math)"
    assert found.points == (Point(100, 37.5), Point(300, 50), Point(600, 62.5))


def test_a_held_out_point_between_logged_steps_stands_between_them(tmp_path):
    held_out = {5: 0.25, 10: 0.5, 15: 0.75, 20: 0.5, 25: 1.0}
    log(tmp_path, train__rollout__num_samples={10: 100, 20: 200}, eval__eval_math_pass1=held_out)
    found = accuracy(read(tmp_path)).points  # of the last one, after the last logged step, nothing is known
    assert found == (Point(500, 25), Point(1000, 50), Point(2000, 75), Point(3000, 50))


def test_accuracy_in_training_counts_what_the_policy_had_consumed_before(tmp_path):
    counts = dict(train__rollout__num_samples=[100, 200, 300, 400])
    rewards = [0.25, 0.5, 0.75, math.nan]
    stock = accuracy(read(log(tmp_path / "stock", train__rollout__reward_mean=rewards, **counts)))
    assert stock == Accuracy("mean reward in training", (Point(100, 50), Point(300, 75)))
    left_out = dict(train__marge__problems_without_guidance=[5] * 3, train__marge__problems_without_room=[1] * 3)
    guided = log(
        tmp_path / "marge", train__marge__pass_rate=[0.25, 0.5, 0.5], train__marge__problems=[26, 26, 17],
        train__rollout__reward_mean=[0.1] * 3, **left_out, **counts,
    )  # fmt: skip
    assert accuracy(read(guided)) == Accuracy("pass rate in training", (Point(100, 50, 10), Point(300, 50, 12.5)))


def test_accuracy_in_training_of_0_or_1_has_no_known_error(tmp_path):
    counts = dict(train__rollout__num_samples=[100] * 3, train__rollout__reward_mean=[0.1] * 3)
    log(tmp_path, train__marge__pass_rate=[0.5, 0.0, 1.0], train__marge__problems=[8] * 3,
        train__marge__problems_without_room=[0] * 3, **counts)  # fmt: skip
    assert accuracy(read(tmp_path)).points == (Point(100, 0, None), Point(200, 100, None))


def test_accuracy_in_training_of_a_step_whose_predecessor_was_not_logged(tmp_path):
    """10 responses a step: those of step 10 came from the policy of step 9."""
    log(tmp_path, train__rollout__num_samples={10: 100, 20: 100}, train__rollout__reward_mean={10: 0.25, 20: 0.5})
    assert accuracy(read(tmp_path)).points == (Point(900, 25), Point(1900, 50))


def test_an_s0_that_chose_its_guidance_has_no_value_in_figure_3(tmp_path):
    """One of 4 is correct, so there is correct guidance: the mean over such groups is no V(s_0)."""
    for chose, first in ((True, []), (False, [("correct", 0, 0.25)])):
        groups = rollout(1, 2, 4)
        groups[0] = dataclasses.replace(groups[0], chose_guidance=chose)
        write_dump(tmp_path / str(chose), groups)
        found = read_totals(tmp_path / str(chose) / "rollout-00000001.parquet")
        assert [(*key, v.mean) for key, v in sorted(found.values.items())] == [
            *first, ("correct", 1, 0.5), ("correct", 2, 1.0)
        ]  # fmt: skip
        logged = {name: value for name, value in state_values(groups).items() if "position" not in name}
        assert logged == {f"marge/value_{kind}/state_{i}": value for kind, i, value in first} | {
            "marge/value_correct/state_1": 0.5, "marge/value_correct/state_2": 1.0
        }  # fmt: skip
        assert [g.chose_guidance for g in read_groups(tmp_path / str(chose) / "rollout-00000001.parquet")] == [
            chose, False, False
        ]  # fmt: skip


def test_two_runs_with_dumps(tmp_path):
    first = rl_run(tmp_path / "a", rollout(1, 2, 4), rollout(2, 2, 3))
    second = rl_run(tmp_path / "b", rollout(4, 4, 2, guidance=False), after=0.375)
    assert draw(tmp_path / "out", f"ours={first}", second) == 0
    assert rows(tmp_path / "out", "fig3") == [
        ["run", "guidance", "state_index", "value", "standard_error", "count"],
        ["ours", "correct", "0", "0.375", "", "2"],  # twice the same problem
        ["ours", "correct", "1", "0.5", "", "2"],
        ["ours", "correct", "2", "0.875", "", "2"],
        ["b", "incorrect", "0", "1", "", "1"],
        ["b", "incorrect", "1", "1", "", "1"],
        ["b", "incorrect", "2", "0.5", "", "1"],
    ]
    assert rows(tmp_path / "out", "fig4")[1:] == [
        ["gsm8k", "before", "4", "25", "1", "50", "2"],
        ["gsm8k", "ours", "4", "50", "1", "75", "2"],
        ["gsm8k", "b", "4", "37.5", "1", "75", "2"],
    ]
    header, *found = rows(tmp_path / "out", "fig5a")
    assert header == ["run", "generated_tokens", "outcome_diversity", "valid_pairs", "valid_pair_share"]
    # Of 6 pairs 3, 4, 0 differ, then 4, 4, 3, each times 4; valid pairs min(correct, incorrect), at most 2 of a group.
    assert [(r[0], *r[2:]) for r in found] == [
        ("ours", "4.66667", "3", "0.5"), ("ours", "12", "8", "0.666667"), ("b", "2.66667", "2", "0.333333"),
    ]  # fmt: skip
    assert [r[:5] for r in rows(tmp_path / "out", "fig5b")[1:]] == [
        ["ours", part, "correct", str(j), value]
        for part, values in {"start": ("0.25", "0.5", "1"), "end": ("0.5", "0.5", "0.75")}.items()
        for j, value in enumerate(values)
    ]


def test_what_a_run_lacks_is_said_with_how_to_get_it(tmp_path, capsys):
    assert draw(tmp_path / "out", rl_run(tmp_path / "run", rollout(1, 2, 4))) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}: fig3, fig4, fig5a\n"
    assert "Fig. 5b leaves out run: it needs a dump of at least two policies; run with --marge.dump_dir" in said.err
    assert "Fig. 1 leaves out run: neither iterations of a DPO loop nor two steps with " in said.err
    assert not (tmp_path / "out" / "fig1.png").exists()


@pytest.mark.parametrize("kind", ["rl", "loop"])
def test_an_evaluation_without_pass_1_is_said(tmp_path, capsys, kind):
    if kind == "rl":
        path = rl_run(tmp_path / "run", rollout(1, 2, 4)) / "after.json"
    else:
        path = loop(tmp_path / "run", [0.25, 0.5, 0.4], [rollout(1, 2, 4)] * 2) / "iteration_1" / "heldout.json"
    path.write_text(path.read_text().replace('"pass@1"', '"pass@3"'))
    draw(tmp_path / "out", tmp_path / "run")
    said = {
        "rl": "leaves out run: one of its evaluations has no pass@1; ",
        "loop": "on heldout has no pass@1; evaluate",
    }
    assert said[kind] in capsys.readouterr().err


def test_a_loop_has_the_accuracy_of_its_iterations(tmp_path, capsys):
    scores = [0.5, 0.5 + 0.02 * math.log(2), 0.5 + 0.02 * math.log(4), 0.5 + 0.02 * math.log(6)]
    run = loop(tmp_path / "loop", scores, [rollout(1, 2, 4), rollout(2, 2, 2), rollout(4, 4, 2, guidance=False)])
    assert [len(files) for files in find_policies(run)] == [2, 2, 2]
    assert draw(tmp_path / "out", run) == 0
    assert [r[1:5] for r in rows(tmp_path / "out", "fig1")] == [
        ["accuracy", "responses", "accuracy_percent", "standard_error"],
        ["held-out pass@1 (heldout)", "3000", "53.5835", "1"],
    ]
    assert rows(tmp_path / "out", "fig1")[1][-1] == "True"  # still rising
    assert [r[1] for r in rows(tmp_path / "out", "fig5b")[1:]] == ["start"] * 3 + ["end"] * 3
    assert [row[-1] for row in rows(tmp_path / "out", "fig6")[1:]] == ["51.3863", "52.7726", "53.5835"]


def test_a_loop_whose_noise_hides_its_trend_is_at_its_last_iteration(tmp_path, capsys):
    run = loop(tmp_path / "loop", [0.5, 0.5, 0.54, 0.53], [rollout(1, 2, 4)] * 3)
    assert draw(tmp_path / "out", run) == 0
    assert rows(tmp_path / "out", "fig1")[1][2:] == ["3000", "53", "1", ""]
    assert "Fig. 6 is not drawn: no run has 3 points of accuracy of which the noise " in capsys.readouterr().err


def test_one_iteration_tells_no_convergence(tmp_path, capsys):
    assert draw(tmp_path / "out", loop(tmp_path / "loop", [0.25, 0.5], [rollout(1, 2, 4)])) == 0
    assert "Fig. 1 leaves out loop: it has one point of accuracy after training began" in capsys.readouterr().err
    assert not (tmp_path / "out" / "fig1.csv").exists()


def test_figure_6_and_table_7(tmp_path):
    accuracies = [p.y / 100 for p in LOG_2] + [LOG_2[-1].y / 100] * 2
    log(
        tmp_path / "run", train__rollout__num_samples=[1000, 1000, 2000, 4000, 1000, 1000],
        eval__eval_math_pass1=accuracies,
    )  # fmt: skip
    assert draw(tmp_path / "out", tmp_path / "run") == 0
    header, (name, *coefficients) = rows(tmp_path / "out", "table7")
    assert header == ["run", "c1", "c2", "c2_low", "c2_high", "r2", "points", "points_after_saturation"]
    assert name == "run"
    assert list(map(float, coefficients)) == pytest.approx([50, 2, 2, 2, 1, 4, 2], abs=1e-4)
    assert rows(tmp_path / "out", "fig6")[-2:] == [
        ["run", "held-out pass@1 (math)", "9000", "54.1589", "", "54.1589"],
        ["run", "held-out pass@1 (math)", "10000", "54.1589", "", "54.1589"],
    ]
    _, _, x, y, _, still_rising = rows(tmp_path / "out", "fig1")[1]
    assert (x, y, still_rising) == ("8000", "54.1589", "False")


def test_errors_of_figure_3_are_over_problems(tmp_path):
    """Two problems, three visits each: their values are 1/4 and 3/4 every time."""
    visits = [
        group
        for number in range(3)
        for name, n_correct in (("a", 1), ("b", 3))
        for group in visit([mixed(n_correct, 4 - n_correct)] * 3, of=problem(name), number=number)
    ]
    write_dump(tmp_path / "run", visits[:9], visits[9:])
    assert draw(tmp_path / "out", tmp_path / "run") == 0
    assert rows(tmp_path / "out", "fig3")[1] == ["run", "incorrect", "0", "0.5", "0.25", "6"]


def test_figures_3_and_5a_come_from_the_log_where_there_is_no_dump(tmp_path):
    log(
        tmp_path / "run", train__marge__value_correct__state_1=[0.25, 0.75],
        train__marge__completion_tokens=[1000, 3000], train__marge__outcome_diversity_per_1k_tokens=[8, 4],
        train__marge__valid_pairs_per_1k_tokens=[2, 1],
    )  # fmt: skip
    assert draw(tmp_path / "out", tmp_path / "run") == 0
    assert rows(tmp_path / "out", "fig3")[1:] == [["run", "correct", "1", "0.5", "0.25", "2"]]
    assert rows(tmp_path / "out", "fig5a")[1:] == [["run", "1000", "8", "2", ""], ["run", "4000", "20", "5", ""]]


def test_a_logged_step_stands_for_those_before_it(tmp_path):
    """--logger.logging_steps 10: each number is of ten steps."""
    log(
        tmp_path / "run", train__marge__completion_tokens={10: 1000, 20: 3000},
        train__marge__outcome_diversity_per_1k_tokens={10: 8, 20: 4},
        train__marge__valid_pairs_per_1k_tokens={10: 2, 20: 1},
    )  # fmt: skip
    assert draw(tmp_path / "out", tmp_path / "run") == 0
    assert rows(tmp_path / "out", "fig5a")[1:] == [["run", "10000", "80", "20", ""], ["run", "40000", "200", "50", ""]]


def test_pictures_show_something_and_the_same_runs_give_the_same_bytes(tmp_path):
    matplotlib = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    run = rl_run(tmp_path / "$run_$", rollout(1, 2, 4), rollout(2, 2, 3))
    log(run, train__rollout__num_samples=[1000] * 5, eval__eval_math_pass1=[0.5, 0.53, 0.54, 0.56, 0.565])
    for out in ("one", "two"):
        assert draw(tmp_path / out, run) == 0
    names = [f"fig{n}.{end}" for n in ("1", "3", "4", "5a", "5b", "6") for end in ("csv", "png")]
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted([*names, "table7.csv"])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        if path.suffix == ".png":
            pixels = matplotlib.imread(path)[..., :3]
            assert (pixels.min(axis=2) < 0.9).mean() > 0.01 and pixels.std() > 0.05


BAD = {
    "{tmp}/nowhere": "RUN {tmp}/nowhere: {tmp}/nowhere is no folder; give the folder of a run, or NAME=FOLDER",
    "x=nowhere": "RUN x=nowhere: nowhere is no folder; give the folder of a run, or NAME=FOLDER",
    "{tmp}/good {tmp}/good": "two RUNs are named good; give them names as NAME=FOLDER",
    "{tmp}/empty": "no figure can be drawn of these RUNs; what each needs is said above",
    "{tmp}/torn_dump": "{tmp}/torn_dump/dump/rollout-00000001.parquet is not a whole dump file: ",
    "{tmp}/torn_json": "{tmp}/torn_json/after.json is not JSON: ",
    "{tmp}/other_json": "{tmp}/other_json/after.json is no result of openrlhf_marge.cli.evaluate; ",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path, capsys, command):
    (tmp_path / "empty").mkdir()
    runs = {name: rl_run(tmp_path / name, rollout(1, 2, 4)) for name in ("good", "torn_dump", "torn_json")}
    other = rl_run(tmp_path / "other_json", rollout(1, 2, 4))
    (dump,) = (runs["torn_dump"] / "dump").iterdir()
    dump.write_bytes(dump.read_bytes()[:-9])
    (runs["torn_json"] / "after.json").write_text('{"data": ')
    (other / "after.json").write_text('{"pass@1": 1}')
    assert draw(tmp_path / "out", *command.format(tmp=tmp_path).split()) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"figures: error: {BAD[command].format(tmp=tmp_path)}")
    assert not (tmp_path / "out").exists()


def test_only_drawing_loads_matplotlib():
    code = "import sys, openrlhf_marge.figures, openrlhf_marge.cli.figures; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"

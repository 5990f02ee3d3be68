"""The compare package: files, budgets, finished folders, statistics and table texts."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.compare import Results, Scores, read_plan, read_run
from openrlhf_marge.compare.commands import evaluate_flags, launch_command, launch_flags, loop_flags, words_of
from openrlhf_marge.compare.curves import curve_lines, curve_of, mean_curve
from openrlhf_marge.compare.evaluation_checks import check_evaluation, columns_of, flags_of_run
from openrlhf_marge.compare.holm import holm
from openrlhf_marge.compare.launch_notes import kl_notes, launch_notes
from openrlhf_marge.compare.notes import notes, short_rollouts, unequal
from openrlhf_marge.compare.results import difference_table, score_rows, score_table
from openrlhf_marge.compare.statistics import _covariance, interval, interval_of_means, over_seeds, paired
from openrlhf_marge.compare.tables import Cell, Table, latex, markdown, marks
from openrlhf_marge.compare.used import mean_share, used_table
from openrlhf_marge.evaluation.flags import parse_args as evaluation_args
from openrlhf_marge.runs.progress import ProgressPoint, RunBudget
from openrlhf_marge.runs.progress_files import points_of, read_points, write_points

from figure_runs import log

FILE = """
seeds = [0, 1]
baseline = "GRPO"
shared = "--data.prompt_dataset $out/train_$seed.jsonl --reward.remote_url $grader"
budget.tokens = 1000
evaluate.data = ["math500", "heldout.jsonl"]
[methods.GRPO]
kind = "grpo"
[methods.MARGE]
kind = "marge"
flags = "--marge.split tokens"
"""
LOOP = """
[loop]
model = "M"
heldout = "H"
iterations = 4
explore = "--data.label_key label"
[methods.DPO]
kind = "dpo"
train = "--model.beta 0.1"
"""


def plan_of(tmp_path, text=FILE, seeds=None):
    path = tmp_path / "file.toml"
    path.write_text(text)
    return read_plan(path, tmp_path / "out", seeds)


def run_of(plan, name, seed=0):
    return next(run for run in plan.runs if (run.method.name, run.seed) == (name, seed))


def test_a_file_becomes_runs_in_folders_of_their_own(tmp_path):
    plan = plan_of(tmp_path)
    assert [str(run) for run in plan.runs] == ["GRPO, seed 0", "GRPO, seed 1", "MARGE, seed 0", "MARGE, seed 1"]
    assert plan.runs[3].folder == tmp_path / "out" / "MARGE" / "seed_1"
    assert [run.seed for run in plan_of(tmp_path, seeds=[7]).runs] == [7, 7]


def test_a_launch_has_shared_then_kind_then_own_flags_and_its_budget(tmp_path):
    plan = plan_of(tmp_path, FILE.replace('kind = "marge"', 'kind = "marge"\nshare = 0.5'))
    words = launch_flags(plan, run_of(plan, "MARGE", 1))
    shared = ["--data.prompt_dataset", f"{tmp_path}/out/train_1.jsonl", "--reward.remote_url", REWARD_FILE]
    assert words[:8] == [*shared, "--experience_maker", "marge", "--marge.split", "tokens"]
    assert words[8:10] == ["--train.seed", "1"] and "--ckpt.load_enable" in words
    command = launch_command(plan, run_of(plan, "MARGE", 1))
    assert command[1:5] == ["-m", "openrlhf_marge.cli.budgeted", "--budget.tokens", "500"]
    grpo = launch_flags(plan, run_of(plan, "GRPO"))
    assert grpo[4:9] == ["--algo.advantage.estimator", "group_norm", "--algo.kl.use_loss", "--algo.kl.estimator", "k3"]


def test_a_loop_gets_its_part_of_the_budget_in_every_iteration(tmp_path):
    plan = plan_of(tmp_path, FILE + LOOP)
    words = loop_flags(plan, run_of(plan, "DPO", 1))
    flags = dict(zip(words[::2], words[1::2], strict=True))
    assert flags["--kind"] == "outcome" and flags["--patience"] == "0" and flags["--iterations"] == "4"
    assert flags["--explore"] == "--data.label_key label --train.seed 1 --max_generated_tokens 250"
    assert shlex.split(flags["--train"]) == ["--model.beta", "0.1", "--train.seed", "1"]


def test_the_environment_fills_a_file_and_a_variable_that_is_not_set_is_named(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    monkeypatch.setenv("MODEL", "some model")
    assert plan.fill("$MODEL ${seed}0 $$", 3) == "some model 30 $"
    with pytest.raises(ValueError, match=r"file.toml has \$NOWHERE in .* which is not set"):
        plan.fill("--x $NOWHERE", 0)
    with pytest.raises(ValueError, match=r"a \$ that names nothing .* write \$\$"):
        plan.fill("a$", 0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "grpo"', 'kind = "gpo"', r"\[methods.GRPO\]: kind 'gpo' is not known; known are marge, vanilla, ppo"),
        ('kind = "grpo"', 'kin = "grpo"', r"\[methods.GRPO\]: the key 'kin' is not known; known are kind, run"),
        ('kind = "grpo"', "", r"\[methods.GRPO\] has none of kind, run and model; give exactly one"),
        ('kind = "grpo"', 'kind = "grpo"\nrun = "x"', "has kind and run of kind, run and model; give exactly one"),
        ('kind = "grpo"', 'kind = "grpo"\ntrain = "x"', "train changes nothing with this kind; leave it out"),
        ('kind = "grpo"', 'kind = "dpo"', r"kind 'dpo' needs the table \[loop\], and a \[budget\] in tokens"),
        ('kind = "grpo"', 'kind = "grpo"\nshare = 0', "share is 0; it must be a number above 0"),
        ('kind = "grpo"', 'kind = "grpo"\nshare = inf', "share is inf; it must be a number above 0"),
        ("methods.GRPO", 'methods."a/b"', "is to be the name of a folder"),
        ("methods.GRPO", 'methods.""', "is to be the name of a folder"),
        (
            "methods.GRPO",
            'methods."a\\nb"',
            r"the method 'a\\nb' is to be the name of a folder; leave /, line breaks and",
        ),
        ("methods.GRPO", 'methods."a\\u0000"', r"the method 'a\\x00' is to be the name of a folder"),
        ("methods.GRPO", 'methods."a\\u2028b"', r"the method 'a\\u2028b' is to be the name of a folder"),
        ("methods.GRPO", 'methods."..."', r"the method '\.\.\.' is to be the name of a folder"),
        (
            "methods.GRPO",
            f'methods."{"a" * 201}"',
            "the method 'a{59}... has a name of more than 200 bytes; shorten it",
        ),
        ("methods.GRPO", 'methods."' + "\u00e9" * 101 + '"', "has a name of more than 200 bytes; shorten it"),
        ("methods.GRPO", 'methods."table.md"', "the method 'table.md' has the name of a file that compare writes"),
        ("methods.GRPO", 'methods."Curves.PNG.part"', "has the name of a file that compare writes; rename it"),
        (
            '"heldout.jsonl"',
            '"held\\nout.jsonl"',
            r"\[evaluate\] data has 'held\\nout.jsonl', which cannot be in a table",
        ),
        ("seeds = [0, 1]", "seeds = [0, 1, 0]", "seeds has 0 twice; leave one out"),
        ("seeds = [0, 1]", "seeds = []", "seeds is empty; give at least one"),
        ("seeds = [0, 1]", 'seeds = ["0"]', r"file.toml: Expected `int`, got `str` - at `\$.seeds\[0\]`"),
        ("seeds = [0, 1]", "seeds = [true]", r"Expected `int`, got `bool` - at `\$.seeds\[0\]`"),
        ("seeds = [0, 1]", "seeds = 3", r"Expected a list, got `int` - at `\$.seeds`"),
        ("seeds = [0, 1]", "", "file.toml: add the missing key `seeds`"),
        ("evaluate.data = ", "evaluate = ", r"\[evaluate\]: Expected a table, got a list"),
        ("[methods.GRPO]\n", "methods.GRPO = 3\n[methods.X]\n", r"\[methods.GRPO\]: Expected a table, got `int`"),
        (
            'kind = "grpo"',
            'kind = "grpo"\nshare = "1"',
            r"\[methods.GRPO\]: Expected `float`, got `str` - at `\$.share`",
        ),
        (
            'kind = "grpo"',
            'kind = "grpo"\nname = "x"',
            r"\[methods.GRPO\]: the key 'name' is not known; known are kind",
        ),
        ("budget.tokens = 1000", 'budget.tokens = "x"', r"\[budget\]: tokens: Expected `float`, got `str`"),
        ("budget.tokens", "budget.prompts", r"\[budget\] has the key 'prompts'; give exactly one of updates, samples"),
        ("budget.tokens = 1000", "budget.tokens = -1", r"\[budget\]: tokens is -1; it must be a number above 0"),
        ("budget.tokens = 1000", "", r"\[methods.GRPO\] is to run and .* has no \[budget\]"),
        ('"GRPO"\n', '"PPO"\n', "baseline 'PPO' is no method; the methods are GRPO, MARGE"),
        ("evaluate.data", "evaluate.date", r"\[evaluate\]: the key 'date' is not known"),
        ("seeds", "sheeds", "the key 'sheeds' is not known; known are seeds, baseline"),
        ('baseline = "GRPO"', 'baseline = "GRPO"\ntolerance = 5', "tolerance is 5; it is a share of the budget"),
        ('kind = "marge"', 'kind = "marge"\nshare = 0.5', "share 0.5 makes unequal budgets, which strict"),
        ("seeds = [0, 1]", "seeds = [0, 1", "is no TOML"),
        ('kind = "grpo"', 'run = "x"\nshare = 0', "share is 0; it must be a number above 0"),
        ("budget.tokens = 1000", "strict = true", r"compares with a budget; give \[budget\] one of updates, samples"),
    ],
)
def test_bad_files_are_refused_with_a_sentence_that_names_file_and_key(tmp_path, old, new, said):
    text = FILE.replace(old, new)
    if "unequal" in said:
        text = "strict = true\n" + text
    with pytest.raises(ValueError, match=said) as e:
        plan_of(tmp_path, text)
    assert str(tmp_path / "file.toml") in str(e.value) and "\n" not in str(e.value).split("TOML")[0]


def test_flags_that_compare_sets_itself_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"flags holds --train\.seed, which compare sets itself"):
        words_of(plan_of(tmp_path), "flags", "--train.seed=1", 0)
    with pytest.raises(ValueError, match=r"file\.toml: flags cannot be split into words: No closing quotation"):
        words_of(plan_of(tmp_path), "flags", "--x 'y", 0)


@pytest.mark.parametrize("name", ["GRPO, k3 (ours)", "\u00e9" * 100, "a" * 200, "table.tex 2", "100 % & $"])
def test_other_names_of_methods_are_taken(tmp_path, name):
    plan = plan_of(tmp_path, FILE.replace("methods.MARGE", f'methods."{name}"'))
    assert plan.runs[-1].folder == tmp_path / "out" / name / "seed_1"


CHECKPOINT = '[methods.StepDPO]\nmodel = "StepDPO-HF"\nevaluate = "--prompt own"\n'


def test_a_method_may_be_evaluated_with_a_prompt_of_its_own(tmp_path):
    data = tmp_path / "heldout.jsonl"
    data.write_text('{"input": "q", "label": "1"}\n')
    text = FILE.replace('"math500", "heldout.jsonl"', f'"{data}"').replace(
        "[methods.GRPO]", 'evaluate.flags = "--prompt auto --n 4 --k 4"\n[methods.GRPO]'
    )
    plan = plan_of(tmp_path, text + CHECKPOINT)
    args = check_evaluation(plan)
    assert list(columns_of(plan, args)) == [("heldout", "pass@1"), ("heldout", "pass@4")]
    step_dpo, grpo = run_of(plan, "StepDPO"), run_of(plan, "GRPO", 1)
    words = evaluate_flags(plan, 0, "M", tmp_path, None, step_dpo.method.evaluate)
    assert words[-7:] == ["--prompt", "auto", "--n", "4", "--k", "4", "--prompt", "own"][-7:]
    assert evaluation_args(flags_of_run(plan, step_dpo, tmp_path), "").prompt == "qwen2_boxed"
    assert evaluation_args(flags_of_run(plan, grpo, tmp_path), "").prompt == "auto"
    zero = {name: {("heldout", "pass@1"): {0: scores(0)}} for name in ("GRPO", "MARGE", "StepDPO")}
    assert "StepDPO is evaluated with --prompt own besides." in notes(Results(plan, zero, []))
    # For all methods at once, where all are checkpoints.
    alone = text.replace("--prompt auto", "--prompt own").partition("[methods.GRPO]")[0].replace("GRPO", "StepDPO")
    assert check_evaluation(plan_of(tmp_path, alone + CHECKPOINT.partition("evaluate")[0])).prompt == "qwen2_boxed"
    for old, new, said in (
        ('"--prompt own"', '"--prompt own --n 8"', r"\[methods.StepDPO\]: evaluate holds --n, which is to be alike"),
        (
            '"--prompt own"',
            '"--prom own"',
            r"\[methods.StepDPO\]: evaluate holds --prom, which is to be alike for all",
        ),
        (
            '"StepDPO-HF"',
            '"M"',
            r"\[methods.StepDPO\]: evaluate does not work: .*--model M is none of StepDPO-HF, ACE",
        ),
        ('"StepDPO-HF"', '"PRIME-EURUS-7B"', "evaluate does not work: .*--prompt eurus needs --system_prompt FILE"),
    ):
        with pytest.raises(ValueError, match=said):
            check_evaluation(plan_of(tmp_path, text + CHECKPOINT.replace(old, new)))
    with pytest.raises(ValueError, match=r"\[evaluate\] does not work: .*--model .*/GRPO/seed_0/model is none of"):
        check_evaluation(plan_of(tmp_path, text.replace("--prompt auto", "--prompt own")))


@pytest.mark.parametrize(
    ("key", "word", "shown"),
    [
        ("flags", "--ckpt.output_di=x", "--ckpt.output_di, short for --ckpt.output_dir"),
        ("flags", "--experience x", "--experience, short for --experience_maker"),
        ("evaluate", "--mod x", "--mod, short for --model"),
        ("evaluate", "--out x", "--out"),
        ("train", "--train.s 1", "--train.s, short for --train.seed"),
    ],
)
def test_flags_that_compare_sets_itself_are_refused_shortened_too(tmp_path, key, word, shown):
    with pytest.raises(ValueError, match=f"{key} holds {shown}, which compare sets itself; leave it out"):
        words_of(plan_of(tmp_path), key, f"--x 1 {word}", 0)


def test_flags_that_only_begin_alike_are_no_flags_of_compare(tmp_path):
    words = ["--ckpt.output_dirs", "x", "--ckpt.save_steps", "3", "--y", "--", "--logger.wandb.project", "p"]
    assert words_of(plan_of(tmp_path), "flags", shlex.join(words), 0) == words


def test_a_folder_with_a_blank_stays_one_word(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", "my data/it's --train.seed 7")
    out = tmp_path / "a b"
    (tmp_path / "file.toml").write_text(FILE.replace('flags = "', "flags = \"--x $DATA '$out c' "))
    plan = read_plan(tmp_path / "file.toml", out)
    words = launch_flags(plan, run_of(plan, "MARGE"))
    assert words[:2] == ["--data.prompt_dataset", f"{out}/train_0.jsonl"]
    assert words[6:10] == ["--x", "my data/it's --train.seed 7", f"{out} c", "--marge.split"]
    assert words[words.index("--ckpt.path") + 1] == f"{out}/MARGE/seed_0/checkpoints"


def test_a_model_or_run_that_does_not_depend_on_the_seed_is_one_run(tmp_path):
    plan = plan_of(tmp_path, FILE + '[methods.Before]\nmodel = "M"\n[methods.Old]\nrun = "old_$seed"\n')
    assert [str(run) for run in plan.runs[4:]] == ["Before, seed 0", "Old, seed 0", "Old, seed 1"]
    plan = plan_of(tmp_path, FILE.replace("heldout", "heldout_$seed") + '[methods.Before]\nmodel = "M"\n')
    assert [str(run) for run in plan.runs[4:]] == ["Before, seed 0", "Before, seed 1"]  # on data of its seed


def test_a_loop_whose_data_openrlhf_could_not_read_or_whose_iterations_are_too_small_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"OpenRLHF reads the ',' of .*out/D,PO as the end of a name; rename it"):
        plan_of(tmp_path, FILE + LOOP.replace("methods.DPO", 'methods."D,PO"'))
    with pytest.raises(ValueError, match=r"its budget is below a token an iteration \(4\); raise it"):
        plan_of(tmp_path, FILE.replace("= 1000", "= 3") + LOOP)


def points(*tokens, rate=0.5):
    return [ProgressPoint(updates=i, samples=10 * i, tokens=t, seconds=1.0 * i, pass_rate=rate)
            for i, t in enumerate(tokens, start=1)]  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "amount", "tokens", "met"),
    [
        ("tokens", 100, (), False),
        ("tokens", 100, (60,), False),  # 120 would be closer than 60
        ("tokens", 100, (70,), True),  # 140 would be farther than 70
        ("tokens", 100, (60, 80), False),
        ("tokens", 100, (60, 91), True),  # 122 is farther than 91
        ("tokens", 100, (200,), True),
        ("updates", 2, (1,), False),
        ("updates", 2, (1, 2), True),
        ("seconds", 2.4, (1, 2), True),
        ("samples", 26, (1, 2), False),
    ],
)
def test_a_budget_ends_a_run_at_the_update_that_comes_closest(unit, amount, tokens, met):
    assert RunBudget(unit, amount).is_met(points(*tokens)) is met


def test_points_are_read_from_a_log_whose_steps_may_be_logged_twice(tmp_path):
    series = {
        "train/rollout/num_samples": [(1, 8.0), (2, 4.0), (2, 8.0)],
        "train/rollout/response_length_mean": [(1, 2.5), (2, 1.0), (2, 2.0)],
        "train/rollout/reward_mean": [(1, 0.25), (2, 0.0), (2, 0.5)],
        "train/timing/step_total": [(1, 1.5), (2, 9.0), (2, 0.5)],
        "eval/x": [(7, 1.0)],
    }
    found = points_of(series)
    assert found == [
        ProgressPoint(updates=1, samples=8, tokens=20, seconds=1.5, pass_rate=0.25),
        ProgressPoint(updates=2, samples=16, tokens=36, seconds=2.0, pass_rate=0.5),
    ]
    # With guidance the completions of later states say nothing of the pass rate, and candidates are generated, too.
    generation = {
        "train/marge/generated_tokens": [(1, 99.0), (2, 1.0)], "train/marge/exploring_seconds": [(1, 0.9), (2, 3.7)],
        "train/timing/generation": [(1, 1.0), (2, 0.2)],
    }  # fmt: skip
    guided = points_of(series | generation)
    assert [(p.tokens, p.pass_rate) for p in guided] == [(99, None), (100, None)]
    assert [p.seconds for p in guided] == [1.5, 2.0 + 3.5]  # of a rollout that filled no batch, too
    with pytest.raises(ValueError, match=r"not every step is in it; train with --logger\.logging_steps 1"):
        points_of({tag: [(10 * step, value) for step, value in values] for tag, values in series.items()})
    with pytest.raises(ValueError, match="dynamic_filtering_enable, which drops responses before they are counted"):
        points_of(series | {"train/dynamic_filtering_pass_rate": [(1, 50.0)]})
    counted = {"train/dynamic_filtering_pass_rate": [(1, 50.0)], "train/rollout/sampled_tokens": [(1, 30.0), (2, 9.0)]}
    assert [p.tokens for p in points_of(series | counted)] == [30, 39]
    write_points(tmp_path / "p", found[:1])
    write_points(tmp_path / "p", found[1:], append=True)
    assert read_points(tmp_path / "p") == found


def finished_run(folder: Path, name="model") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text("{}")
    write_points(folder / "progress.jsonl", points(5, 9))
    return folder


def test_a_finished_run_is_its_model_and_its_points(tmp_path):
    found = read_run(finished_run(tmp_path / "a", "trained"))
    assert (found.model, found.points) == (str(tmp_path / "a" / "trained"), points(5, 9))


def test_a_finished_loop_is_the_model_of_its_last_iteration(tmp_path):
    (tmp_path / "iteration_1").mkdir()
    with pytest.raises(ValueError, match=r"summary.json cannot be read: .*; give a loop's folder after its end"):
        read_run(tmp_path)
    summary = {"kind": "marge", "before": {"model": "base"}, "best_iteration": 0}
    iteration = {
        "explored": {"completions": 40, "generated_tokens": 300, "pass_rate": 0.5},
        "seconds": {"explore": 2.0, "pairs": 0.5, "train": 1.5, "evaluate": 100.0},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"iterations": [iteration] * 2}))
    found = read_run(tmp_path)
    assert found.model == str(tmp_path / "iteration_2" / "model")
    assert found.points[-1] == ProgressPoint(updates=2, samples=80, tokens=600, seconds=8.0, pass_rate=0.5)
    (tmp_path / "iteration_3").mkdir()
    with pytest.raises(ValueError, match="ended in its iteration 3; go on with it first"):
        read_run(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="ended in its iteration 1; go on with it first"):
        read_run(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"iterations": [{"seconds": {}}]}))
    with pytest.raises(ValueError, match=r"cannot be read: .* required field `explored` - at `\$\.iterations\[0\]`"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("flags", "entropy"),
    [(["--train.batch_size", "8"], 0.125), (["--train.dynamic_batch_enable"], None), (None, None)],
)
def test_entropy_of_a_log_is_taken_where_no_dynamic_batches_divided_it(tmp_path, flags, entropy):
    folder = finished_run(tmp_path / "a")
    (folder / "progress.jsonl").unlink(missing_ok=True)
    log(
        folder, train__rollout__num_samples=[8.0], train__rollout__response_length_mean=[2.0],
        train__rollout__reward_mean=[0.25], train__timing__step_total=[1.5], train__entropy_loss=[0.125],
    )  # fmt: skip
    if flags is not None:
        (folder / "summary.json").write_text(json.dumps({"training_flags": flags}))
    assert [p.entropy for p in read_run(folder).points] == [entropy]


def test_unfinished_folders_are_refused_by_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="is no folder; give that of a finished run"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no model: neither .*model/config\.json nor .*trained/config"):
        read_run(tmp_path)
    write_points(finished_run(tmp_path / "a") / "progress.jsonl", [])
    with pytest.raises(ValueError, match="made no update; give it more problems"):
        read_run(tmp_path / "a")
    (tmp_path / "a" / "progress.jsonl").unlink()
    with pytest.raises(ValueError, match=r"has neither progress\.jsonl nor a TensorBoard log"):
        read_run(tmp_path / "a")


def scores(*values, texts="abcdefgh"):
    return Scores(tuple(enumerate(texts[: len(values)])), np.array(values, dtype=float))


def test_means_and_standard_errors_are_over_seeds():
    found = over_seeds({0: scores(0, 1), 1: scores(1, 1), 2: scores(0, 0)})
    assert found.mean == pytest.approx(0.5) and found.standard_error == pytest.approx(0.5 / np.sqrt(3))
    assert over_seeds({0: scores(0, 1)}).standard_error is None


def test_pairs_are_of_the_same_problems_and_seeds():
    (difference,) = paired({0: scores(1, 1, 0)}, {0: Scores(((2, "c"), (0, "a")), np.array([1.0, 0.5]))})
    assert difference.problems == ((0, "a"), (2, "c")) and difference.values.tolist() == [0.5, -1.0]
    # A model that is not trained stands for every seed.
    found = paired({0: scores(1, 1)}, {0: scores(0, 1), 1: scores(1, 0)})
    assert [d.values.tolist() for d in found] == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="were evaluated on different problems"):
        paired({0: scores(1)}, {0: scores(1, texts="x")})


def test_intervals_of_known_data():
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 1, 400)
    one = interval([Scores(tuple((i, "") for i in range(400)), values)])
    assert one.value == pytest.approx(values.mean())
    assert one.margin == pytest.approx(1.965927 * values.std(ddof=1) / 20)  # t of 399 degrees of freedom
    # Nothing varies within a seed: what is left are the seeds, two of them with one degree of freedom.
    two = interval([scores(0, 0), scores(1, 1)])
    assert (two.value, two.margin) == (0.5, pytest.approx(12.7062 * 0.5)) and not two.is_shown
    assert interval([scores(0.9, 0.9), scores(1, 1), scores(1.1, 1.1)]).margin == pytest.approx(
        4.302653 * 0.1 / 3**0.5
    )
    assert interval([scores(1)]).margin is None and interval([scores(1)]).bounds is None


@pytest.mark.parametrize("found", [
    interval([scores(1, 1)]), interval([scores(1), scores(1)]), interval([scores(0.5, 0.5, 0.5)] * 3),
    interval_of_means([0.1, 0.1]), interval_of_means([0.3, 0.1 + 0.2]),
])  # fmt: skip
def test_differences_that_are_all_alike_have_no_interval(found):
    """All right against all wrong on two problems: a sign test says 0.5, an interval of width 0 would say certain."""
    assert found.margin is None and not found.is_shown
    assert interval([scores(0, 0)]).bounds == interval_of_means([0, 0]).bounds == (0, 0)
    assert interval_of_means([0.3, 0.3001]).margin == pytest.approx(12.7062 * 0.0001 / 2)


def test_what_problems_that_seeds_share_vary_by_is_no_smaller_for_more_seeds():
    values = np.random.default_rng(1).normal(0, 1, 300)
    shared = [Scores(tuple((i, "") for i in range(300)), values)] * 5
    assert interval(shared).margin == pytest.approx(1.967930 * values.std(ddof=1) / 300**0.5)
    apart = [Scores(tuple((i, str(seed)) for i in range(300)), values + seed / 10) for seed in range(5)]
    assert interval(apart).margin == pytest.approx(2.776445 * 0.158114 / 5**0.5, rel=1e-5)  # the seeds tell it all


def test_seeds_that_happen_to_agree_make_no_interval_narrower_than_the_problems_do():
    apart = [Scores(((0, str(seed)), (1, str(seed)), (2, str(seed))), np.array([0.0, 0.5, 1.0])) for seed in range(2)]
    assert interval(apart).margin == pytest.approx(4.302653 * 0.5 / 6**0.5)  # six problems, t as of three
    uneven = [scores(0.5), Scores(((0, "x"), (1, "y"), (2, "z")), np.array([0.0, 0.5, 1.0]))]
    assert interval(uneven).margin == pytest.approx(4.302653 * 0.5 / 3**0.5 / 2)


def test_holm_asks_for_more_of_the_first_difference_than_of_the_last():
    def of(mean):
        return [scores(mean + e, mean + e) for e in (-0.1, 0.0, 0.1)]  # a standard error of 0.0577

    # t of two degrees of freedom is 4.30 at 95 %, 6.21 at 97.5 and 7.65 at 98.33.
    assert holm({"a": of(0.26)}) == {"a"}
    assert holm({"a": of(0.26), "b": of(0), "c": of(0)}) == set()
    assert holm({"a": of(0.45), "b": of(0.36), "c": of(0.26)}) == {"a", "b", "c"}
    assert holm({"a": of(0.45), "b": of(0.34), "c": of(0.26)}) == {"a"}
    assert holm({}) == set()


TABLE = Table(
    "A & B", "Method", [("MATH", "pass@1"), ("MATH", "pass@64"), ("GSM8k", "pass@1")],
    [
        ("a_b", [Cell("1.00 ± 0.10", "best"), Cell("2"), Cell("3", "second")]),
        ("c|d", [Cell("4"), Cell("5%"), Cell("6")]),
    ],
)  # fmt: skip


def test_a_table_as_markdown():
    assert markdown(TABLE) == (
        "## A & B\n\n"
        "| Method | MATH pass@1 | MATH pass@64 | GSM8k pass@1 |\n"
        "| --- | --- | --- | --- |\n"
        "| a_b | **1.00 ± 0.10** | 2 | <u>3</u> |\n"
        "| c\\|d | 4 | 5% | 6 |\n"
    )


def test_a_table_as_latex():
    assert latex(TABLE) == (
        "% A & B\n"
        "\\begin{tabular}{lccc}\n\\toprule\n"
        " & \\multicolumn{2}{c}{MATH} & \\multicolumn{1}{c}{GSM8k} \\\\\n"
        "Method & pass@1 & pass@64 & pass@1 \\\\\n\\midrule\n"
        "a\\_b & \\textbf{1.00 $\\pm$ 0.10} & 2 & \\underline{3} \\\\\n"
        "c|d & 4 & 5\\% & 6 \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def test_equal_values_share_their_mark():
    assert marks([2.001, 0.5, 2.0, 1.0], 2) == ["best", "", "best", "second"]
    assert marks([3.0], 2) == ["best"]


@pytest.fixture
def results(tmp_path):
    plan = plan_of(tmp_path)
    column = ("math500", "pass@1")
    grpo, marge = {0: scores(0, 1), 1: scores(0, 1)}, {0: scores(1, 1), 1: scores(0, 1)}
    used = [(run, points(400, 1100 if run.method.name == "MARGE" else 1000)) for run in plan.runs]
    return Results(plan, {"GRPO": {column: grpo}, "MARGE": {column: marge}}, used)


def test_the_tables_of_results(results):
    assert markdown(score_table(results)).splitlines() == [
        "## Accuracy, % (bold: highest mean, underlined: second; a rank, no test)", "",
        "| Method | MATH500 pass@1 |", "| --- | --- |",
        "| GRPO | <u>50.00 ± 0.00</u> |", "| MARGE | **75.00 ± 25.00** |",
    ]  # fmt: skip
    assert markdown(difference_table(results)).splitlines()[::4] == [
        "## Difference to GRPO, points, 95 % t interval", "| MARGE | +25.00 [-292.66, +342.66] |"
    ]  # fmt: skip
    assert markdown(used_table(results.used)).splitlines()[2:5] == [
        "| Run | updates | samples | generated tokens | seconds | tokens per update |",
        "| --- | --- | --- | --- | --- | --- |",
        "| GRPO, seed 0 | 2 | 20 | 1,000 | 2 | 500 |",
    ]  # fmt: skip
    header, rows = score_rows(results)
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["difference"] for row in rows] == [None, 0.25] and rows[1]["mean"] == 0.75


def test_what_is_said_under_the_tables(results):
    assert notes(results) == [
        "Means over the seeds 0, 1 and their standard errors; t intervals of the differences seed by seed, 12.7 "
        "standard errors of 2 seeds to each side, and wider for problems that the seeds share.",
        "Budget of a run: 1,000 generated tokens.",
        "MARGE, seed 0 used 1,100 generated tokens, 10 % more than its budget of 1,000.",
        "MARGE, seed 1 used 1,100 generated tokens, 10 % more than its budget of 1,000.",
        "The learning rate of GRPO, MARGE follows cosine_with_min_lr over --train.num_episodes, wherever the budget "
        "ends it; --actor.lr_scheduler constant would not.",
        "The methods' KL is not the same, and may be what they differ by: that of GRPO looks at the initial model, in "
        "the loss (k3); that of MARGE looks at the policy of the iteration's start, in the loss (k3). "
        "--marge.reference, --algo.kl.use_loss and --algo.kl.estimator make it alike, --algo.kl.init_coef 0 takes it "
        "from all.",
    ]
    assert unequal(replace(results.plan, tolerance=0.11), results.used) == []
    column = ("math500", "pass@1")
    others = {"GRPO": {column: {0: scores(1)}}, "MARGE": results.scores["MARGE"]}
    assert notes(replace(results, scores=others))[1:3] == [
        "One run stands for all seeds, and varies with none, of GRPO.",
        "math500: not all answered the same problems (GRPO 1, MARGE 2); differences are over common ones.",
    ]


@pytest.mark.parametrize(
    ("flags", "kl"),
    [
        ("", "looks at the policy of the iteration's start, in the loss (k3)"),
        ("--marge.reference episode", "looks at the policy of the episode's start, in the reward (k1)"),
        ("--marge.ref initial --algo.kl.est k2", "looks at the initial model, in the reward (k2)"),
        ("--algo.kl.estimator k2", "looks at the policy of the iteration's start, in the loss (k2)"),
        ("--algo.kl.unbiased_gradient", "looks at the policy of the iteration's start, in the loss (k1)"),
        ("--algo.kl.init 0.0", "is none"),
        ("--marge.preset paper", "looks at the policy of the iteration's start, in the loss (k3)"),
    ],
)
def test_another_kl_is_said_in_words_before_anything_runs(tmp_path, flags, kl):
    plan = plan_of(tmp_path, FILE.replace("--marge.split tokens", f"--marge.split tokens {flags}"))
    (said,) = kl_notes(plan)
    assert f"; that of MARGE {kl}. --marge.reference" in said and said in launch_notes(plan)


def test_methods_with_the_same_kl_have_no_such_sentence(tmp_path):
    own = "--marge.reference initial --algo.kl.use_loss --algo.kl.estimator k3"
    assert kl_notes(plan_of(tmp_path, FILE.replace("--marge.split tokens", own))) == []
    assert kl_notes(plan_of(tmp_path, FILE.replace("--reward.remote_url $grader", "--algo.kl.init_coef 0"))) == []
    assert kl_notes(plan_of(tmp_path, FILE.replace('kind = "grpo"', 'model = "M"'))) == []


def test_a_run_with_rollouts_that_are_not_whole_is_named(tmp_path):
    plan = plan_of(tmp_path)
    whole, partial = points(50, 100, 150), points(50, 100, 150)
    partial[2] = replace(partial[2], samples=26)
    said = short_rollouts([(run_of(plan, name), p) for name in ("GRPO", "MARGE") for p in (whole, partial)])
    assert said == [
        "GRPO, seed 0: 1 of its 3 rollouts were smaller than the others, for which OpenRLHF takes fewer optimizer "
        "steps; with --data.max_samples a multiple of --rollout.batch_size none would be."
    ]


def test_curves_are_averaged_where_all_runs_have_got():
    first, second = points(100, 200, 300, rate=0.2), [ProgressPoint(tokens=50), *points(150, 250, rate=0.6)]
    assert curve_of(first, "tokens")[0].tolist() == [0, 100, 200]  # a rollout is of the policy before its update
    used, rates = mean_curve([curve_of(p, "tokens") for p in (first, second)], n_points=3)
    assert used.tolist() == [50, 100, 150] and rates == pytest.approx([0.4] * 3)
    lines = curve_lines({"GRPO": [first, second], "none": [], "PPO": [first]}, "tokens")
    assert [(line.name, line.style, line.color) for line in lines] == [
        ("", "faint", 0), ("", "faint", 0), ("GRPO", "solid", 0), ("PPO", "solid", 2)
    ]  # fmt: skip
    assert lines[0].points[0] == (0, 0.2, None)


def test_curves_that_do_not_overlap_have_no_mean():
    short, late = points(100, 200, rate=0.2), [ProgressPoint(tokens=300), *points(400, 500, rate=0.6)]
    assert [len(part) for part in mean_curve([curve_of(p, "tokens") for p in (short, late)])] == [0, 0]
    lines = curve_lines({"MARGE": [short, late]}, "tokens")
    assert [(line.name, line.style) for line in lines] == [("", "faint"), ("MARGE", "faint")]
    touching = [ProgressPoint(tokens=100), *points(200, 300, rate=0.6)]
    assert set(mean_curve([curve_of(p, "tokens") for p in (short, touching)])[0]) == {100}


def test_a_table_of_several_methods_says_what_is_left_of_its_intervals_together(results):
    column = ("math500", "pass@1")
    alone = {0: scores(0.26, 0.26), 1: scores(0.16, 0.16), 2: scores(0.36, 0.36)}  # an interval of 0.26 +- 0.248
    zero = {seed: scores(0, 0) for seed in range(3)}
    methods = {"GRPO": zero, "MARGE": alone}
    plan = replace(results.plan, seeds=(0, 1, 2))
    single = Results(plan, {name: {column: of} for name, of in methods.items()}, [])
    assert markdown(difference_table(single)).splitlines()[-1] == "| MARGE | +26.00 [+1.16, +50.84] * |"
    assert score_rows(single)[1][1][-1] is True and not any("Holm" in note for note in notes(single))
    several = Results(plan, {name: {column: of} for name, of in (methods | {"PPO": zero, "RLOO": zero}).items()}, [])
    assert markdown(difference_table(several)).splitlines()[-3] == "| MARGE | +26.00 [+1.16, +50.84] |"
    assert [row[-1] for row in score_rows(several)[1]] == [None, False, False, False]
    assert notes(several)[1] == (
        "Each interval holds for itself: with 3 to look at, one of them leaves 0 out by chance in more than 5 % of "
        "tables. * marks what is left when a column's are asked all at once (Holm)."
    )


def test_one_seed_says_nothing_of_others(results):
    column = ("math500", "pass@1")
    of_seed = {name: {column: {0: of_method[column][0]}} for name, of_method in results.scores.items()}
    one = Results(replace(results.plan, seeds=(0,)), of_seed, [])
    assert notes(one)[0] == (
        "One seed (0): there is no standard error, and the intervals are over problems alone; what another seed would "
        "bring they do not say."
    )
    only = {"GRPO": {column: {0: scores(0)}}, "MARGE": {column: {0: scores(1)}}}
    assert markdown(difference_table(replace(one, scores=only))).splitlines()[-1] == "| MARGE | +100.00 [n/a] |"


def test_seeds_with_some_problems_in_common_share_what_these_vary_by():
    a = Scores(((0, "a"), (1, "b"), (2, "c")), np.array([0.0, 0.5, 1.0]))
    b = Scores(((1, "b"), (2, "c"), (3, "d"), (4, "e")), np.array([0.0, 1.0, 0.5, 0.5]))
    # cov(b, c) of (0.5, 1) and (0, 1) is 0.25; two of 3 and of 4 problems.
    assert _covariance(a, b) == pytest.approx(0.25 * 2 / (3 * 4))


def test_a_share_is_of_the_updates_that_know_it():
    assert mean_share([ProgressPoint(), ProgressPoint(groups_with_signal=0.5)], "groups_with_signal") == 0.5


def test_intervals_of_two_seeds_on_the_same_problems():
    agreeing = [scores(1, 0, 1, 0, 1, 0), scores(1, 0, 1, 0, 0, 1)]  # own variances 0.05 each, covariance 1/60
    assert interval(agreeing).margin == pytest.approx(2.570582 * ((0.1 + 2 / 60) / 4) ** 0.5)
    apart = [
        scores(1, 0, 1, 0),
        scores(1.1, 0.1, 1.1, 0.1),
    ]  # means 0.1 apart, all of the problems' variance in common
    assert interval(apart).margin == pytest.approx(((12.706205 * 0.05) ** 2 + 3.182446**2 / 12) ** 0.5)

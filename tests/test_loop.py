"""The loop's own logic, its commands replaced by a script that leaves what they would leave."""

import json
from pathlib import Path

import pytest

from openrlhf_marge.cli.marge_dpo import main
from openrlhf_marge.loop import KINDS, Flags, Loop, checks, run_loop
from openrlhf_marge.loop.checks import words_of
from openrlhf_marge.loop.flags import make_loop, parse_args
from openrlhf_marge.loop.kinds import PAPER_FLAGS
from openrlhf_marge.loop.stages import read_stages, run_stage


class Interrupted(Exception):
    """Ctrl-C, or the end of the machine."""


class Script:
    """Stands for the commands: held-out pass@1 by the order of the evaluations, 10 rows of pairs, 100 tokens."""

    def __init__(self, scores, rows: int = 10, stop_at: int | None = None) -> None:
        self.commands: list[list[str]] = []
        self._scores, self._rows, self._stop_at = scores, rows, stop_at

    def __call__(self, command, log) -> None:
        if len(self.commands) == self._stop_at:
            raise Interrupted
        self.commands.append(list(command))
        stage = log.stem
        if stage == "explore":
            out = Path(command[command.index("--out") + 1])
            out.mkdir(parents=True)
            (out / "summary.json").write_text(json.dumps({"generated_tokens": 100}))
        elif stage == "pairs":
            out = Path(command[command.index("--out") + 1])
            out.mkdir(parents=True, exist_ok=True)
            (out / "train.jsonl").write_text("{}\n" * self._rows)
        elif stage == "evaluate":
            number = int(log.parent.name.removeprefix("iteration_"))
            Path(command[command.index("--out") + 1]).write_text(json.dumps({"pass@1": self._scores[number]}))

    @property
    def stages(self) -> list[str]:
        """What ran, by iteration."""
        return [f"{part}" for command in self.commands for part in [stage_of(command)]]


def stage_of(command) -> str:
    names = {"explore": "explore", "build_pairs": "pairs", "evaluate": "evaluate", "train_dpo": "train"}
    return next(stage for name, stage in names.items() if any(word.endswith(f".{name}") for word in command))


def loop(out, **changes) -> Loop:
    facts = dict(
        kind=KINDS["marge"], out=out, model="base", heldout="heldout.jsonl", flags=Flags(), iterations=2, patience=1,
        max_len=64, batch_size=8, launcher=("launch",),
    )  # fmt: skip
    return Loop(**facts | changes)


def value_of(command, flag):
    return command[command.index(flag) + 1]


def test_every_iteration_explores_pairs_trains_and_evaluates_with_the_policy_of_the_one_before(tmp_path):
    script = Script([0.3, 0.4, 0.5])
    summary = run_loop(loop(tmp_path), script)
    assert script.stages == ["evaluate", *["explore", "pairs", "train", "evaluate"] * 2]
    explore, pairs, train, evaluate = script.commands[5:]
    first = f"{tmp_path}/iteration_1"
    assert value_of(explore, "--actor.model_name_or_path") == f"{first}/model"
    assert value_of(explore, "--guidance_from") == f"{first}/explore"
    assert "--guidance_from" not in script.commands[1]
    assert value_of(pairs, "--max_len") == value_of(train, "--data.max_len") == "64"
    assert train[:3] == ["launch", "-m", "openrlhf.cli.train_dpo"]
    # Without --ref.model_name_or_path train_dpo's reference is the model that it begins with.
    assert value_of(train, "--model.model_name_or_path") == f"{first}/model"
    assert "--ref.model_name_or_path" not in train
    assert value_of(evaluate, "--model") == f"{tmp_path}/iteration_2/model"
    assert (summary["before"]["pass@1"], summary["after"]["pass@1"]) == (0.3, 0.5)
    assert (summary["best_iteration"], summary["generated_tokens"]) == (2, 200)
    assert [i["rows"] for i in summary["iterations"]] == [10, 10]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_other_held_out_problems_are_refused_when_a_loop_goes_on(tmp_path):
    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text('{"input": "1?", "label": "1"}\n')
    changes = dict(heldout=str(heldout), iterations=1)
    run_loop(loop(tmp_path / "out", **changes), Script([0.3, 0.4, 0.5]))
    run_loop(loop(tmp_path / "out", **changes), Script([0.3, 0.4, 0.5]))
    heldout.write_text('{"input": "2?", "label": "2"}\n')
    with pytest.raises(ValueError, match=r"heldout\.jsonl has changed since .* was begun, so that the iterations"):
        run_loop(loop(tmp_path / "out", **changes), Script([0.3, 0.4, 0.5]))


def test_seconds_of_a_stage_are_those_of_all_its_starts(tmp_path, monkeypatch):
    times = iter((10.0, 70.0, 100.0, 130.0))
    monkeypatch.setattr("openrlhf_marge.loop.stages.time.monotonic", lambda: next(times))
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path, "explore", ["python", "-m", "x"], interrupted)
    run_stage(tmp_path, "explore", ["python", "-m", "x"], lambda command, log: None)
    assert read_stages(tmp_path)["explore"]["seconds"] == 60 + 30


def interrupted(command, log):
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["mcts", "mcts_steps"])
def test_the_reference_of_mcts_dpo_is_the_first_model_in_all_iterations(tmp_path, kind):
    script = Script([0.3, 0.4, 0.5])
    run_loop(loop(tmp_path, kind=KINDS[kind]), script)
    trains = [command for command in script.commands if "openrlhf.cli.train_dpo" in command]
    assert [value_of(c, "--ref.model_name_or_path") for c in trains] == ["base", "base"]
    assert [value_of(c, "--model.model_name_or_path") for c in trains] == ["base", f"{tmp_path}/iteration_1/model"]


@pytest.mark.parametrize("stop_at", range(9))
def test_a_loop_that_was_stopped_goes_on_with_the_stage_that_it_was_in(tmp_path, stop_at):
    stopped, again = Script([0.3, 0.4, 0.5], stop_at=stop_at), Script([0.3, 0.4, 0.5])
    with pytest.raises(Interrupted):
        run_loop(loop(tmp_path), stopped)
    summary = run_loop(loop(tmp_path), again)
    assert stopped.stages + again.stages == ["evaluate", *["explore", "pairs", "train", "evaluate"] * 2]
    assert [i["pass@1"] for i in summary["iterations"]] == [0.4, 0.5]


@pytest.mark.parametrize(
    ("scores", "patience", "ran", "best"),
    [
        ([0.3, 0.2, 0.9, 0.9], 1, 1, 0),
        ([0.3, 0.4, 0.4, 0.9], 1, 2, 1),
        ([0.3, 0.2, 0.1, 0.9], 2, 2, 0),
        ([0.3, 0.2, 0.4, 0.3], 2, 3, 2),
        ([0.3, 0.2, 0.1, 0.0], 0, 3, 0),
    ],
)
def test_it_stops_early_after_so_many_iterations_without_a_better_score(tmp_path, scores, patience, ran, best):
    summary = run_loop(loop(tmp_path, iterations=3, patience=patience), Script(scores))
    assert (len(summary["iterations"]), summary["best_iteration"]) == (ran, best)
    assert summary["best_model"] == (f"{tmp_path}/iteration_{best}/model" if best else "base")


def test_more_iterations_go_on_after_those_that_are_done(tmp_path):
    run_loop(loop(tmp_path, iterations=1), Script([0.3, 0.4]))
    more = Script([0.3, 0.4, 0.5])
    run_loop(loop(tmp_path, iterations=2), more)
    assert more.stages == ["explore", "pairs", "train", "evaluate"]


def test_flags_may_change_for_what_is_not_done_yet_and_for_nothing_else(tmp_path):
    with pytest.raises(Interrupted):
        run_loop(loop(tmp_path), Script([0.3, 0.4, 0.5], stop_at=3))
    other = loop(tmp_path, flags=Flags(train=("--adam.lr", "1e-4")), launcher=("srun",))
    run_loop(other, Script([0.3, 0.4, 0.5]))
    with pytest.raises(ValueError, match=r"explore of .*iteration_1 was done with nothing where there is --x now"):
        run_loop(loop(tmp_path, flags=Flags(explore=("--x",))), Script([]))
    with pytest.raises(ValueError, match=r"train of .*iteration_1 was done with 1e-4 where there is 1e-5 now"):
        run_loop(loop(tmp_path, flags=Flags(train=("--adam.lr", "1e-5"))), Script([]))


def test_fewer_rows_than_a_batch_are_an_error_that_says_where_the_reasons_are(tmp_path):
    with pytest.raises(ValueError, match=r"pairs has 7 rows, fewer than --train.batch_size 8; .*README.md"):
        run_loop(loop(tmp_path), Script([0.3], rows=7))


def test_the_kinds_have_the_papers_settings():
    assert PAPER_FLAGS["openrlhf.cli.train_dpo"] == (
        *("--model.beta", "0.4", "--adam.lr", "5e-7", "--train.batch_size", "256", "--train.max_epochs", "4"),
    )  # fmt: skip
    assert KINDS["self_explore"].explore_flags[-1] == "4"  # completions per step (arXiv 2404.10346)
    # The script mcts_mathqa.sh of MCTS-DPO (arXiv 2405.00451).
    assert KINDS["mcts"].train_flags[:4] == ("--model.beta", "0.1", "--adam.lr", "1e-6")
    assert "mcts_dpo" in KINDS["mcts"].explore_flags
    assert "vanilla" in KINDS["outcome"].explore_flags and "vanilla" in KINDS["sft"].explore_flags


@pytest.mark.parametrize(
    ("stage", "flag"),
    [("explore", "--out"), ("pairs", "--kind"), ("train", "--data.dataset"), ("evaluate", "--model")],
)
def test_what_the_loop_sets_itself_is_refused(stage, flag):
    with pytest.raises(ValueError, match=f"--{stage} holds {flag}, which the loop sets itself; leave it out"):
        words_of(stage, f"--x 1 {flag}=y")


@pytest.mark.parametrize(
    ("stage", "word", "flag"),
    [
        ("train", "--ckpt.output_di", "--ckpt.output_dir"),
        ("pairs", "--max_l=1", "--max_len"),
        ("explore", "--ou", "--out"),
    ],
)
def test_what_the_loop_sets_itself_is_refused_shortened_too(stage, word, flag):
    shown = f"{word.partition('=')[0]}, short for {flag}"
    with pytest.raises(ValueError, match=f"--{stage} holds {shown}, which the loop sets itself; leave it out"):
        words_of(stage, f"--x 1 {word}")


def test_words_may_be_quoted():
    assert words_of("explore", "--marge.cot_prefix 'Step 1:' --x") == ("--marge.cot_prefix", "Step 1:", "--x")


def command(tmp_path, more=()):
    (tmp_path / "heldout.jsonl").write_text('{"input": "1+1?", "label": "2"}\n')
    (tmp_path / "train.jsonl").write_text('{"input": "1+2?", "label": "3"}\n')
    data = f"--data.prompt_dataset {tmp_path}/train.jsonl --data.label_key label"
    base = ["--model", "base", "--heldout", f"{tmp_path}/heldout.jsonl", "--out", f"{tmp_path}/out"]
    return [*base, "--explore", data, *(word.replace("DATA", data) for word in more)]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--heldout", "/no.jsonl"], "--heldout cannot be evaluated: --data /no.jsonl: there is no such file"),
        (["--explore", "--nope 1"], "--explore does not work: explore: error: the following arguments are"),
        (["--pairs", "--min_value x"], "argument --min_value: invalid float value: 'x'"),
        (["--explore", "'"], "--explore cannot be split into words: No closing quotation"),
        (["--explore", "DATA --marge.split nope"], "--explore does not work: --marge.split is 'nope'"),
        (["--explore", "DATA --data.prompt_dataset no.jsonl"], "--data.prompt_dataset no.jsonl: there is no such"),
        (["--pairs", "--min_value 0.9 --max_value 0.1"], "--pairs does not work: --min_value 0.9 is above"),
        (["--pairs", "--nope"], "error: unrecognized arguments: --nope"),
        (["--launcher", "{gpu} x"], "--launcher '{gpu} x' cannot be filled with {python} and {gpus}"),
        (["--evaluate", "--n 0"], "--evaluate holds --n 0, but iterations are compared by sampled pass@1"),
        (["--evaluate", "--label_key gold"], "--heldout cannot be evaluated: "),
        (["--evaluate", "--n 1 --k 2"], "--k 2 must lie between 1 and --n 1: pass@k is never extrapolated; raise --n"),
    ],
)
@pytest.mark.usefixtures("warm_commands")
def test_bad_flags_are_found_before_anything_runs(tmp_path, capsys, more, sentence):
    assert main(command(tmp_path, more)) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("warm_commands")
def test_a_stage_may_have_a_single_flag_with_its_value_after_an_equals_sign(tmp_path):
    words = ["--pairs", "--closest_only", "--train=--train.batch_size=16", "--evaluate", "--n=2"]
    loop = make_loop(parse_args(command(tmp_path, words)))
    assert (loop.flags.pairs, loop.flags.evaluate, loop.batch_size) == (("--closest_only",), ("--n=2",), 16)


@pytest.mark.parametrize(("flag", "value"), [("--iterations", "0"), ("--patience", "-1"), ("--kind", "prm")])
def test_numbers_and_kinds_out_of_range_are_refused(tmp_path, capsys, flag, value):
    with pytest.raises(SystemExit, match="2"):
        parse_args(command(tmp_path, [flag, value]))
    assert flag in capsys.readouterr().err


def test_rows_with_columns_that_stock_openrlhf_leaves_out_need_the_patches(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(checks.patches, "require", asked.append)
    for kind in KINDS.values():
        checks.check_patched(kind)
    assert asked == ["--kind mcts_steps"]


def test_after_is_of_the_last_iteration_whatever_the_best_one_is(tmp_path):
    summary = run_loop(loop(tmp_path, iterations=2, patience=0), Script([0.3, 0.5, 0.4]))
    assert (summary["best_iteration"], summary["after"]["pass@1"]) == (1, 0.4)

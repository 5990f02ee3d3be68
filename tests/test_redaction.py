"""Secrets in flags, URLs and texts; what only looks like one stays."""

import dataclasses
import json
import os
import sys

import pytest
from test_loop import Interrupted, Script, loop

from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.cli import model_card, report
from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.compare import read_plan
from openrlhf_marge.compare.commands import run_command
from openrlhf_marge.compare.runner import is_done, trained
from openrlhf_marge.data.redaction import redacted, redacted_words, secrets_of, without
from openrlhf_marge.exploration import check_settings, write_settings
from openrlhf_marge.loop import Flags, run_loop
from openrlhf_marge.loop.stages import compared, run_stage
from openrlhf_marge.runs.processes import run_logged
from openrlhf_marge.runs.progress import ProgressPoint
from openrlhf_marge.runs.progress_files import write_points

from figure_runs import rl_run, rollout

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"--logger.wandb.key {KEY} --x 1", "--logger.wandb.key *** --x 1"),
        (f"--logger.wandb.key={KEY}", "--logger.wandb.key=***"),
        (f"--logger.wandb.ke {KEY}", "--logger.wandb.ke ***"),  # argparse takes it
        (f"--logger.wandb.key '{KEY}' --x", "--logger.wandb.key *** --x"),
        (f"--logger.wandb.key \\\n  {KEY}", "--logger.wandb.key \\\n  ***"),
        (f"['--logger.wandb.key', '{KEY}', '--x']", "['--logger.wandb.key', *** '--x']"),
        ("--hub.api_key a'b c'd --x", "--hub.api_key *** --x"),
        ("--token abc --hf.token=abc --db.password abc", "--token *** --hf.token=*** --db.password ***"),
        ("http://user:pa55@host:5000/get_reward", "http://***@host:5000/get_reward"),
        ("http://user:pa@55@host/x", "http://***@host/x"),
        ("a,http://:pw@h/a,https://T0ken@h/b", "a,http://***@h/a,https://***@h/b"),
        ("remote_url='http://u:p@h', x=1", "remote_url='http://***@h', x=1"),
        ("http://h/get?token=abc&n=1", "http://h/get?token=***&n=1"),
        ("http://h/get?n=1&api_key=abc#x", "http://h/get?n=1&api_key=***#x"),
        ('{"hf_token": "abc", "n": "b"}', '{"hf_token": "***", "n": "b"}'),
        ("{'api_key':'a b'}", "{'api_key':\"***\"}"),
        ("with hf_AbCdEfGhIjKlMnOpQrSt.", "with ***."),
    ],
)
def test_secrets_are_hidden(text, shown):
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "--data.label_key label --data.input_key input --marge.guidance_key hit --label_key answer",
        "--max_generated_tokens 100 --train.max_tokens_per_gpu 5 --token_file f --tokenizer t",
        "--logger.wandb.run_name name --logger.wandb.project p --logger.tensorboard_dir d",
        "--logger.wandb.key --x 1",
        "http://host:5000/get_reward me@host user@x.org s3://bucket/key?n=1",
        '{"max_tokens": "3", "eos": "token", "key": "a", "token": 3}',
        "v1.0@main a@b://c hf_short 2 < 3 & key = 4",
    ],
)
def test_other_text_stays(text):
    assert redacted(text) == text
    assert redacted_words(text.split()) == text.split()


def test_a_long_line_takes_no_long_time():
    for text in ("-" * 10**6, "--a." * 10**5, "?token" * 10**5, "://" * 10**5, "--token " * 10**5):
        redacted(text)


def test_words_of_a_command_and_the_texts_in_them():
    words = ["run", "--logger.wandb.key", "a b", "--train", f"--x 1 --logger.wandb.key {KEY}", "--logger.wandb.key=c"]
    words += ["--reward.remote_url", "http://u:p@h", "--logger.wandb.key"]
    assert redacted_words(words) == [
        *("run", "--logger.wandb.key", "***", "--train", "--x 1 --logger.wandb.key ***", "--logger.wandb.key=***"),
        *("--reward.remote_url", "http://***@h", "--logger.wandb.key"),
    ]


def test_what_a_command_was_given_is_hidden_wherever_it_prints_it():
    environment = {
        "HF_TOKEN": "environment-token",
        "WANDB_API_KEY": "short",
        "KEYS": "not-a-secret",
        "PATH": "/usr/bin",
    }
    secrets = secrets_of(["--logger.wandb.key", KEY, "--train", "--hub.token 'quoted secret' --x"], environment)
    assert secrets == {KEY, "environment-token", "quoted secret"}
    line = f"Namespace(wandb=namespace(key='{KEY}', x=1), t='environment-token', u='http://a:b@c')"
    assert without(line, secrets) == "Namespace(wandb=namespace(key='***', x=1), t='***', u='http://***@c')"


def holding(folder, *secrets):
    """Files below the folder that hold one of the secrets."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path.name for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


def echoing(then=lambda command, log: None):
    """Runs, in place of a command, one that prints all its words, as OpenRLHF prints its flags."""

    def run(command, log):
        echo = (
            "import sys; print(sys.argv[1:]); print('Namespace(' + ' '.join(sys.argv[1:]).replace(' --', ', ') + ')')"
        )
        run_logged([sys.executable, "-c", echo, *command], log, os.environ, print)
        then(command, log)

    return run


def of_loop(out, key, password, **changes):
    train = ("--logger.wandb.key", key, "--train.batch_size", "8")
    flags = Flags(explore=("--reward.remote_url", f"http://grader:{password}@host/get_reward"), train=train)
    return loop(out, **dict(flags=flags) | changes)


def test_a_loop_writes_no_secret_and_goes_on_with_another_key(tmp_path, capsys):
    script = Script([0.3, 0.4, 0.5], stop_at=4)
    with pytest.raises(Interrupted):
        run_loop(of_loop(tmp_path, KEY, "pa55word"), echoing(script))
    script = Script([0.3, 0.4, 0.5])
    run_loop(of_loop(tmp_path, "9" * 40, "0ther"), echoing(script))
    assert script.stages == ["evaluate", "explore", "pairs", "train", "evaluate"]
    stages = json.loads((tmp_path / "iteration_1" / "stages.json").read_text())
    assert "http://***@host/get_reward" in stages["explore"]["command"]
    command = stages["train"]["command"]
    assert command[command.index("--logger.wandb.key") + 1] == "***"
    assert "--logger.wandb.key" in (tmp_path / "iteration_1" / "train.log").read_text()
    assert not holding(tmp_path, KEY, "9" * 40, "pa55word", "0ther")
    said = capsys.readouterr()
    assert KEY not in said.out + said.err and "pa55word" not in said.out


def test_a_loop_of_an_earlier_version_goes_on_and_its_key_goes(tmp_path):
    run_loop(of_loop(tmp_path, KEY, "pa55word", iterations=1), Script([0.3, 0.4]))
    path = tmp_path / "iteration_1" / "stages.json"
    path.write_text(path.read_text().replace("***", KEY, 1).replace('"***"', f'"{KEY}"'))
    assert holding(tmp_path, KEY) == ["stages.json"]
    stages = json.loads(path.read_text())
    del stages["evaluate"]
    path.write_text(json.dumps(stages))
    run_loop(of_loop(tmp_path, "9" * 40, "pa55word", iterations=1), Script([0.3, 0.4]))
    assert not holding(tmp_path, KEY)


@pytest.mark.parametrize(
    ("flag", "says"), [("--train.batch_size 16", "was done with 8 where there is 16 now"), ("--logger.x 1", None)]
)
def test_flags_of_logging_are_no_part_of_what_must_be_the_same(tmp_path, flag, says):
    run_loop(of_loop(tmp_path, KEY, "p", iterations=1), Script([0.3, 0.4]))
    train = ("--train.batch_size", "8", *flag.split()) if says is None else tuple(flag.split())
    other = of_loop(tmp_path, KEY, "p", iterations=1)
    other = dataclasses.replace(other, flags=dataclasses.replace(other.flags, train=train))
    if says is None:
        run_loop(other, Script([0.3, 0.4]))
    else:
        with pytest.raises(ValueError, match=says):
            run_loop(other, Script([0.3, 0.4]))


def test_what_is_compared_of_a_command_whose_flags_hold_flags():
    words = ["a", "--train", "--logger.x 1 --y '2 3' --logger.z=4 --w", "--logger.wandb.org", "o", "--b=1", "c"]
    assert compared(words) == ["a", "--train", "--y '2 3' --w", "--b=1", "c"]
    assert compared(["--train", "--logger.x 1"]) == ["--train", ""]


COMPARE = """
seeds = [0]
baseline = "GRPO"
shared = "--logger.wandb.key KEY --reward.remote_url http://u:pa55word@host --data.label_key label"
budget.tokens = 1000
evaluate.data = ["math500"]
[methods.GRPO]
kind = "grpo"
[methods.DPO]
kind = "dpo"
train = "--logger.wandb.key KEY --model.beta 0.1"
[loop]
model = "M"
heldout = "H"
"""


def plan_with(tmp_path, key):
    (tmp_path / "file.toml").write_text(COMPARE.replace("KEY", key))
    return read_plan(tmp_path / "file.toml", tmp_path / "out")


def test_a_comparison_writes_no_secret_and_goes_on_with_another_key(tmp_path):
    def leave(command, log):
        (log.parent / "model").mkdir(exist_ok=True)
        (log.parent / "model" / "config.json").write_text("{}")
        write_points(log.parent / "progress.jsonl", [ProgressPoint(updates=1, tokens=1000)])

    plan = plan_with(tmp_path, KEY)
    grpo, dpo = plan.runs
    trained(plan, grpo, echoing(leave))
    run_stage(dpo.folder, "run", run_command(plan, dpo), echoing())
    assert not holding(tmp_path / "out", KEY, "pa55word")
    summary = json.loads((grpo.folder / "summary.json").read_text())
    assert summary["training_flags"][:4] == ["--logger.wandb.key", "***", "--reward.remote_url", "http://***@host"]
    other = plan_with(tmp_path, "9" * 40)
    assert all(is_done(other, run) for run in other.runs)
    changed = COMPARE.replace("KEY", KEY).replace("--model.beta 0.1", "--model.beta 0.2")
    (tmp_path / "file.toml").write_text(changed)
    changed = read_plan(tmp_path / "file.toml", tmp_path / "out")
    with pytest.raises(ValueError, match=r"was done with --model.beta 0.1 .* where there is --model.beta 0.2"):
        is_done(changed, changed.runs[1])


def test_report_and_card_of_a_run_show_no_secret_of_its_files(tmp_path):
    """As versions before wrote them, or a script of one's own."""
    run = rl_run(tmp_path / "run", rollout(1, 2, 4))
    summary = json.loads((run / "summary.json").read_text())
    summary["training_flags"] += ["--logger.wandb.key", KEY, "--reward.remote_url", "http://u:pa55word@host"]
    summary["note"] = f"--logger.wandb.key {KEY}"
    (run / "summary.json").write_text(json.dumps(summary))
    assert model_card.main([str(run)]) == 0
    card = (run / "trained" / "README.md").read_text()
    assert "- `--reward.remote_url http://***@host`" in card and KEY not in card
    build_tokenizer().save_pretrained(tmp_path / "tokenizer")
    assert report.main([str(run), "--model", str(tmp_path / "tokenizer")]) == 0
    page = (run / "report.html").read_text()
    assert "http://***@host" in page and KEY not in page and "pa55word" not in page


def test_settings_of_an_exploration_hold_no_secret(tmp_path):
    path = tmp_path / "settings.json"
    write_settings(path, {"--reward.remote_url": "http://u:pa55word@host", "--x": 1})
    assert json.loads(path.read_text()) == {"--reward.remote_url": "http://***@host", "--x": 1}
    check_settings(path, {"--reward.remote_url": "http://u:0ther@host", "--x": 1})
    with pytest.raises(ValueError, match=r"--reward.remote_url http://\*\*\*@host, not http://\*\*\*@other;"):
        check_settings(path, {"--reward.remote_url": "http://u:pa55word@other", "--x": 1})


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError])
def test_what_a_command_says_at_its_end_holds_no_secret(capsys, error):
    def work():
        raise error(f"no such file: --logger.wandb.key {KEY} http://u:pa55word@host")

    assert exit_status("x", work) in (1, 2)
    assert capsys.readouterr().err == "x: error: no such file: --logger.wandb.key *** http://***@host\n"

"""Commands on damaged files of a run: exit status 0, or one sentence that names the file; nothing of it is markup."""

import html
import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openrlhf_marge.cli import build_pairs, compare, figures, grade, model_card, report, tune
from openrlhf_marge.model_card.markup import code, plain
from openrlhf_marge.report.page import render

from figure_runs import log, rl_run, rollout
from hostile import command_ends_well, damaged, swapped
from scripted_dumps import save_model

EXAMPLES = settings(max_examples=25, suppress_health_check=list(HealthCheck))
PLAN = """
seeds = [0]
baseline = "GRPO"
shared = "--actor.model_name_or_path m --data.prompt_dataset d.jsonl --train.seed $seed"
budget.tokens = 300_000
evaluate.data = ["math500"]
evaluate.flags = "--n 4 --k 1"
[methods.GRPO]
kind = "grpo"
[methods.MARGE]
kind = "marge"
[tune]
seeds = [100]
metric = "pass@1"
[tune.methods.GRPO]
lr = ["--actor.adam.lr 1e-4", "--actor.adam.lr 3e-4"]
"""
RESPONSES = [{"response": f"The answer is \\boxed{{{n}}}.", "label": n} for n in (1, "2", "\\frac{1}{2}")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with everything that commands read of it."""
    folder = rl_run(tmp_path_factory.mktemp("run"), rollout(1, 2, 4), rollout(3, 0, 0))
    log(folder, train__marge__pass_rate=[0.25, 0.5], train__rollout__num_samples=[12.0, 12.0])
    save_model(folder / "model")
    (folder / "compare.toml").write_text(PLAN)
    (folder / "responses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in RESPONSES))
    return folder


def damaged_json(path):
    content = path.read_bytes()
    return damaged(content) if path.suffix not in (".json", ".jsonl") else (
        damaged(content) | swapped(json.loads(content.splitlines()[0] if path.suffix == ".jsonl" else content))
    )  # fmt: skip


OUT = "{run}/out{number}"
# What to call, its words, and the files of the run that it reads.
COMMANDS = {
    "build_pairs": (
        build_pairs.main, f"{{run}}/dump --kind marge --model {{run}}/model --out {OUT}.jsonl", ["dump/*"],
    ),
    "report": (
        report.main, f"{{run}} --model {{run}}/model --out {OUT}.html", ["dump/*", "summary.json", "tensorboard/*"],
    ),
    "figures": (figures.main, f"{{run}} --out {OUT}", ["dump/*", "*.json", "tensorboard/*"]),
    "model_card": (model_card.main, "{run} --force", ["*.json"]),
    "grade": (grade.main, f"{{run}}/responses.jsonl --workers 1 --out {OUT}.jsonl", ["responses.jsonl"]),
    "compare": (compare.main, f"{{run}}/compare.toml --out {OUT}", ["compare.toml"]),
    "tune": (tune.main, f"{{run}}/compare.toml --out {OUT}", ["compare.toml"]),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_file_of_a_run_ends_a_command_with_one_sentence_that_names_it(run, monkeypatch, command):
    def stop(*_, **__):
        raise RuntimeError(f"{run}: the file was read")

    monkeypatch.setattr(figures, "save", lambda plot, path: None)  # drawing takes a second
    for reader in (compare, tune):  # what comes next starts processes
        monkeypatch.setattr(reader, "check", stop)
    main, words, globs = COMMANDS[command]
    files = sorted(path for of in globs for path in run.glob(of))
    number = 0

    @settings(EXAMPLES, max_examples=5 if command == "grade" else 25)  # which starts processes, too
    @given(st.sampled_from(files).flatmap(lambda path: st.tuples(st.just(path), damaged_json(path))))
    def check(of_file):
        nonlocal number
        path, content = of_file
        whole, number = path.read_bytes(), number + 1
        path.write_bytes(content)
        try:
            argv = words.format(run=run, number=number).split()
            command_ends_well(command, main, argv, run, *(names_of_flags if path.suffix == ".json" else ()))
        finally:
            path.write_bytes(whole)

    names_of_flags = ("--model", "--out", "is no folder")  # of a summary whose own flags name other places
    check()


TEXT = st.text(max_size=40) | st.sampled_from(
    ["</script><script>alert(1)</script>", "<!--", "]]>", "\u2028\u2029", "{{data}} {{script}}", "a|b\n|c|", "&lt;",
     "`` ` ```", "\\|", "[x](javascript:alert(1))", "<img src=x onerror=alert(1)>", "'\"", "\r\n\r\n# h", "---"]
)  # fmt: skip


@given(TEXT, TEXT)
def test_any_text_in_a_report_stays_text(title, text):
    page = render(title, {"title": title, "problems": [{text: [text]}]})
    assert page.count("<script") == page.count("</script") == 2 and "<!--" not in page.split("<style>")[0]
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data) == {"title": title, "problems": [{text: [text]}]} and "<" not in data
    assert f"<title>{html.escape(title)}</title>" in page


@given(TEXT)
@example("__0__")
@example("a_b_ _c_")
def test_any_text_in_a_model_card_stays_text_of_its_place(text):
    markdown = (
        pytest.importorskip("markdown_it", reason="markdown-it-py is not installed").MarkdownIt().enable("table")
    )
    cells = [t for t in markdown.parse(f"| a |\n| --- |\n| {plain(text)} |\n") if t.type == "inline"][1:]
    assert [cell.content != "" or not text.split() for cell in cells] == [True]
    assert {child.type for child in cells[0].children} <= {"text", "text_special"}
    assert "".join(child.content for child in cells[0].children) == " ".join(text.replace("\0", "\ufffd").split())
    (item,) = [t for t in markdown.parse(f"- {code(f'--flag {text}')}\n") if t.type == "inline"]
    (shown,) = item.children
    assert (shown.type, "".join(shown.content.split())) == (
        "code_inline",
        "".join(f"--flag {text}".replace("\r", "\\r").replace("\n", "\\n").replace("\0", "\ufffd").split()),
    )


def test_the_name_of_a_metric_is_text_of_its_cell(run, capsys):
    path = run / "after.json"
    whole = path.read_text()
    path.write_text(whole.replace('"maj@4"', '"maj@4 | <b>x</b>\\n| y"'))
    try:
        assert model_card.main([str(run), "--force"]) == 0
    finally:
        path.write_text(whole)
    row = r"| gsm8k | maj@4 \| \<b\>x\</b\> \| y | not evaluated | 0.5000 |"
    assert row in (run / "trained" / "README.md").read_text().splitlines()


@pytest.mark.parametrize("share", [1.5, -0.25])
def test_a_score_that_is_no_share_is_refused(run, capsys, share):
    path = run / "after.json"
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {"pass@1": share}))
    try:
        assert model_card.main([str(run), "--force"]) == 2
    finally:
        path.write_text(whole)
    assert (
        f"model_card: error: {path}: the result pass@1 of 'gsm8k' is {share} and no share; " in capsys.readouterr().err
    )

"""The card of a trained model: the whole text of one, and what it refuses."""

import json
import re
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard

from openrlhf_marge.cli.model_card import main
from openrlhf_marge.model_card import MARKER

from figure_runs import loop, rl_run, rollout

CARD = f"""---
base_model: Qwen/Qwen2-7B-Instruct
datasets:
- openai/gsm8k
library_name: transformers
pipeline_tag: text-generation
tags:
- openrlhf
- openrlhf_marge
- marge
model-index:
- name: run
  results:
  - task:
      type: text-generation
    dataset:
      name: gsm8k
      type: openai/gsm8k
      split: test
    metrics:
    - type: pass@1
      value: 0.5
      name: pass@1
    - type: pass@4
      value: 0.75
      name: pass@4
    - type: maj@4
      value: 0.5
      name: maj@4
---
{MARKER}

# run

`Qwen/Qwen2-7B-Instruct` after reinforcement learning (`openrlhf.cli.train_ppo_ray --experience_maker marge`), \
by [OpenRLHF](https://github.com/OpenRLHF/OpenRLHF) and openrlhf_marge ([MARGE](https://arxiv.org/abs/2505.12500)).

## Data

- `openai/gsm8k`
- `train.jsonl`
- 1000 tokens generated in training

## Settings

Method:

- `--marge.max_states 4`
- `--marge.cot_prefix Think.\\nStep 1:`

Training:

- `--experience_maker marge`
- `--actor.model_name_or_path Qwen/Qwen2-7B-Instruct`
- `--data.prompt_dataset openai/gsm8k,train.jsonl`
- `--train.seed 0`
- `--actor.adam.lr 1e-6`
- `--vllm.enforce_eager`

## Results

| data | metric | before | after |
| --- | --- | --- | --- |
| gsm8k | pass@1 | 0.2500 \u00b1 0.0100 | 0.5000 \u00b1 0.0100 |
| gsm8k | pass@4 | 0.5000 \u00b1 0.0200 | 0.7500 \u00b1 0.0200 |
| gsm8k | maj@4 | 0.2500 | 0.5000 |

- gsm8k: problems 100, n 4, temperature 0.8

## Versions

torch 2.0
"""


@pytest.fixture
def run(tmp_path):
    return rl_run(tmp_path / "run", rollout(1, 2, 4))


def test_the_card_of_a_run(run, capsys):
    path = run / "trained" / "README.md"
    for _ in range(2):  # its own card it writes anew, with the same bytes
        assert main([str(run)]) == 0
        assert path.read_text() == CARD
    assert capsys.readouterr().out == f"{path}\n" * 2
    assert [r.metric_value for r in ModelCard.load(path).data.eval_results] == [0.5, 0.75, 0.5]


def test_a_run_that_was_not_evaluated_before_has_results_all_the_same(run):
    (run / "before.json").unlink()
    assert main([str(run)]) == 0
    card = (run / "trained" / "README.md").read_text()
    assert card == re.sub(r"(?m)^(\| gsm8k .*?\|)[^|]*(\|[^|]*\|)$", r"\1 not evaluated \2", CARD)
    assert card.count("not evaluated") == 3


def test_a_loop_has_the_card_of_its_best_model(tmp_path):
    folder = loop(tmp_path / "loop", [0.25, 0.5, 0.375], [rollout(1, 2, 4)] * 2)
    assert main([str(folder)]) == 0
    card = (folder / "iteration_1" / "model" / "README.md").read_text()
    assert "| heldout | pass@1 | 0.2500 \u00b1 0.0100 | 0.5000 \u00b1 0.0100 |" in card
    assert "Method:\n\n- `--marge.n_candidates 24`\n\nPairs:\n\n- `--kind marge`\n\nTraining:\n\n" in card
    assert "- `--model.beta 0.4`\n\n## Results" in card
    assert "- 100 tokens generated in training" in card and "\n- marge_dpo\n" in card
    assert main([str(folder), "--model", str(folder / "iteration_2" / "model")]) == 0
    last = (folder / "iteration_2" / "model" / "README.md").read_text()
    assert "| 0.3750 \u00b1 0.0100 |" in last and "- 200 tokens generated in training" in last


def test_the_card_of_a_copied_run_goes_to_its_own_model(run, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(run, copied)
    assert main([str(copied)]) == 0
    assert (copied / "trained" / "README.md").is_file() and not (run / "trained" / "README.md").exists()


def test_a_readme_of_someone_else_stays_without_force(run, capsys):
    path = run / "trained" / "README.md"
    path.write_text("mine")
    assert main([str(run)]) == 2
    assert capsys.readouterr().err == (
        f"model_card: error: {path} was not written by this command; move it away, or replace it with --force\n"
    )
    assert path.read_text() == "mine"
    assert main([str(run), "--force"]) == 0 and path.read_text() == CARD


def spoil_result(run, name, metric, value):
    path = run / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {metric: value}))


def spoil_summary(run, **changes):
    path = run / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


HOSTILE = "a|b\n\n# <script>x</script> [l](javascript:x) `c` *d* &amp; _e_ f_g"
SUMMARY = "{run}/summary.json is not as a run writes it: "
ESCAPED = r"a\|b \# \<script\>x\</script\> \[l\](javascript:x) \`c\` \*d\* \&amp; \_e\_ f_g"


def test_names_of_every_kind_are_text_and_no_markup(run):
    flags = json.loads((run / "summary.json").read_text())["training_flags"]
    flags[flags.index("openai/gsm8k,train.jsonl")] = "a`b,c\n# d,``"
    flags[flags.index("Qwen/Qwen2-7B-Instruct")] = "`base`\n# model"
    spoil_summary(run, name=HOSTILE, training_flags=flags, versions={HOSTILE: HOSTILE})
    for name in ("before", "after"):
        spoil_result(run, name, "data", HOSTILE)
        spoil_result(run, name, "prompt", HOSTILE)
    assert main([str(run)]) == 0
    path = run / "trained" / "README.md"
    _, head, body = path.read_text().split("---\n", 2)
    lines = body.splitlines()
    assert f"# {ESCAPED}" in lines and f"{ESCAPED} {ESCAPED}" in lines  # the title and the versions
    assert "- ``a`b``" in lines and r"- `c\n# d`" in lines and "- ``` `` ```" in lines
    assert any(line.startswith(r"`` `base`\n# model `` after reinforcement learning (`openrlhf") for line in lines)
    # What data_name makes of the data's name, as nothing but text.
    (row,) = [line for line in lines if "| pass@1 |" in line]
    assert row.replace(r"\|", "").count("|") == 5 and "<script>" not in body.replace(r"\<script\>", "")
    assert [line for line in lines if line.startswith("#")] == [
        f"# {ESCAPED}", "## Data", "## Settings", "## Results", "## Versions"
    ]  # fmt: skip
    assert yaml.safe_load(head)["model-index"][0]["name"] == HOSTILE


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: (run / "summary.json").unlink(), "{run} has no summary.json; --help says what to write"),
        (lambda run: (run / "summary.json").write_text("{"), "{run}/summary.json is not JSON: "),
        (
            lambda run: (run / "summary.json").write_text('{"a": 1}'),
            SUMMARY + "Object missing required field `method`; mend it",
        ),
        (lambda run: (run / "after.json").unlink(), "{run} has no {run}/after.json; write it, and before.json, with"),
        (
            lambda run: spoil_result(run, "after", "pass@1", "high"),
            "{run}/after.json: the result pass@1 of 'gsm8k' is 'high' and no number",
        ),
        (
            lambda run: spoil_result(run, "before", "pass@4", [1]),
            "{run}/before.json: the result pass@4 of 'gsm8k' is [1] and no number;",
        ),
        (
            lambda run: spoil_result(run, "after", "pass@1", float("nan")),
            "{run}/after.json: the result pass@1 of 'gsm8k' is nan and no n",
        ),
        (
            lambda run: spoil_result(run, "after", "pass@1", True),
            "{run}/after.json: the result pass@1 of 'gsm8k' is True and no number",
        ),
        (
            lambda run: spoil_result(run, "after", "pass@4_standard_error", "small"),
            "{run}/after.json: the result pass@4_standard_error of 'gsm8k' is 'small' and no number; evaluate again",
        ),
        (
            lambda run: spoil_summary(run, versions=["torch"]),
            SUMMARY + "Expected `object`, got `array` - at `$.versions`",
        ),
        (
            lambda run: spoil_summary(run, generated_tokens="9"),
            SUMMARY + "Expected `int | float | null`, got `str` - at `$.gen",
        ),
        (lambda run: (run / "trained").rmdir(), "{run}/trained is no folder; name the model's folder with --model"),
    ],
)
def test_bad_input_is_one_sentence(run, capsys, spoil, sentence):
    spoil(run)
    assert main([str(run)]) == 2
    assert capsys.readouterr().err.startswith(f"model_card: error: {sentence.format(run=run)}")


def test_a_loop_without_a_better_model_has_no_card_of_itself(tmp_path, capsys):
    folder = loop(tmp_path / "loop", [0.5, 0.25], [rollout(1, 2, 4)])
    assert main([str(folder)]) == 2
    assert "none of its iterations was better than the model that it began with" in capsys.readouterr().err
    assert main([str(folder), "--model", str(tmp_path)]) == 2
    assert f"--model {tmp_path} is no model of it; give --model" in capsys.readouterr().err

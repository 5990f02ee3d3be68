"""The card of a trained model: the whole text of one, and what it refuses."""

import re

import pytest
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


def test_a_readme_of_someone_else_stays_without_force(run, capsys):
    path = run / "trained" / "README.md"
    path.write_text("mine")
    assert main([str(run)]) == 2
    assert capsys.readouterr().err == (
        f"model_card: error: {path} was not written by this command; move it away, or replace it with --force\n"
    )
    assert path.read_text() == "mine"
    assert main([str(run), "--force"]) == 0 and path.read_text() == CARD


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: (run / "summary.json").unlink(), "{run} has no summary.json; --help says what to write"),
        (lambda run: (run / "summary.json").write_text("{"), "{run}/summary.json is not JSON: "),
        (lambda run: (run / "summary.json").write_text('{"a": 1}'), "the files of {run} lack the key "),
        (lambda run: (run / "after.json").unlink(), "{run} has no {run}/after.json; write it, and before.json, with"),
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

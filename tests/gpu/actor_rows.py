"""A random model, data and recorded completions for actors.py: all made here, no text means anything."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import Qwen2ForCausalLM

from openrlhf_marge import Completion, Guidance, Problem, State, StateGroup
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.data.dump import DumpWriter

from prefix_rows import FULL, Size

LOWEST, HIGHEST = 3, 250  # ids of single bytes in the embedded tokenizer
REWARD = """
import torch
def reward_func(queries, prompts, labels):
    rewards = torch.tensor([float(sum(map(ord, q)) % 2) for q in queries])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}
"""


@dataclass(frozen=True)
class Shape(Size):
    """Of the model, and of what it is trained on: a file of the dump for each rollout.

    Completions are 0.9 to 1.1 times as long as the rest of the guidance.
    """

    problems: int = 4  # of a rollout
    states: int = 5
    rollouts: int = 3

    @property
    def rows(self) -> int:
        """Completions of a rollout."""
        return self.problems * self.states * self.completions


QWEN_05B = Shape(**asdict(FULL))
SMALL = replace(QWEN_05B, layers=4, vocabulary=32_000)
QUICK = Shape(64, 2, 2, 2, 128, 300, prompt=20, response=20, completions=4, problems=2, states=2)


@dataclass(frozen=True)
class Material:
    """Folder with model, train.jsonl, reward.py and dump."""

    folder: Path
    shape: Shape


def make_material(folder: Path, shape: Shape, seed: int = 0) -> Material:
    """Write all of it; ``folder`` must be new."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    config = shape.config(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "reward.py").write_text(REWARD)
    _write_dump(folder, shape, rng, tokenizer.eos_token_id)
    return Material(folder, shape)


def _write_dump(folder: Path, shape: Shape, rng: random.Random, eos: int) -> None:
    writer, rows = DumpWriter(folder / "dump", "mean"), []
    for rollout in range(shape.rollouts):
        numbers = range(rollout * shape.problems, (rollout + 1) * shape.problems)
        rows += [{"input": f"{n} " * (shape.prompt // 4), "label": "1"} for n in numbers]
        writer.write(rollout + 1, [group for n in numbers for group in _groups(n, shape, rng, eos)])
    writer.wait()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _groups(number: int, shape: Shape, rng: random.Random, eos: int) -> list[StateGroup]:
    """All states of a problem's guidance, evenly spaced, each with completions of which about half are correct."""

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(LOWEST, HIGHEST) for _ in range(n))

    problem = Problem(
        id=f"{number:016x}",
        prompt=str(number),
        label="1",
        prompt_ids=tokens(shape.prompt),
        max_response_tokens=2 * shape.response,
    )
    guidance = Guidance(token_ids=tokens(shape.response), is_correct=False, pass_rate=0.5)
    groups = []
    for j in range(shape.states):
        prefix = guidance.token_ids[: shape.response * j // shape.states]
        completions = []
        for k in range(shape.completions):
            n = round((shape.response - len(prefix)) * rng.uniform(0.9, 1.1))
            reward = float((k + rng.randrange(2)) % 2)
            completions.append(Completion(token_ids=(*tokens(n), eos), reward=reward, is_correct=reward > 0.5))
        state = State(index=j, prefix_ids=prefix, position=j / shape.states, guidance=guidance)
        groups.append(
            StateGroup(
                id=number * shape.states + j, problem=problem, state=state, n_states=shape.states,
                completions=tuple(completions),
            )
        )  # fmt: skip
    return groups

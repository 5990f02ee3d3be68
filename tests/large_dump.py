"""Dumps of many short completions, for benchmarks and for what must stay quick with a large run."""

from __future__ import annotations

import random
from pathlib import Path

from openrlhf_marge import Completion, Guidance, Problem, State, StateGroup
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.host.rollout.tokens import encode

N_STATES, N_COMPLETIONS, PER_FILE = 5, 8, 50_000


def problem_groups(number: int, tokenizer, rng: random.Random, length: int) -> list[StateGroup]:
    """All states of a problem whose guidance, and every response, is a string of digits."""
    prompt = f"What is {number}?\n"
    digits = encode(tokenizer, "0123456789")
    problem = Problem(
        id=str(number), prompt=prompt, label="1", prompt_ids=encode(tokenizer, prompt), max_response_tokens=100
    )
    guidance = Guidance(token_ids=tuple(rng.choices(digits, k=2 * N_STATES)), is_correct=False, pass_rate=0.5)

    def completion() -> Completion:
        ids = (*rng.choices(digits, k=length - 1), tokenizer.eos_token_id)
        reward = float(rng.random() < 0.5)
        return Completion(token_ids=ids, reward=reward, is_correct=reward > 0.5)

    return [
        StateGroup(
            id=number * N_STATES + j, problem=problem, n_states=N_STATES,
            state=State(index=j, prefix_ids=guidance.token_ids[: 2 * j], position=j / N_STATES, guidance=guidance),
            completions=tuple(completion() for _ in range(N_COMPLETIONS)),
        )
        for j in range(N_STATES)
    ]  # fmt: skip


def write_dump(folder: Path, completions: int, length: int) -> None:
    tokenizer, rng = build_tokenizer(), random.Random(0)
    tokenizer.save_pretrained(folder / "model")
    writer = DumpWriter(folder / "dump", "mean")
    per_problem = N_STATES * N_COMPLETIONS
    for step, first in enumerate(range(0, completions, PER_FILE), start=1):
        numbers = range(first // per_problem, min(first + PER_FILE, completions) // per_problem)
        writer.write(step, [g for n in numbers for g in problem_groups(n, tokenizer, rng, length)])
    writer.wait()

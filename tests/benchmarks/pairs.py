"""Seconds, CPU seconds (imports included) and memory of build_pairs for a million short completions; prints figures.

    python tests/benchmark_pairs.py [--completions 1000000] [--kind marge] [--response_tokens 12] [--keep FOLDER]

5 states of 8 completions a problem, 50,000 completions a file, half of them correct. The builder runs in a process of
its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openrlhf_marge import Completion, Guidance, Problem, State, StateGroup
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.host.rollout.tokens import encode

N_STATES, N_COMPLETIONS, PER_FILE = 5, 8, 50_000
RUN = """
import resource, sys
from openrlhf_marge.cli.build_pairs import main
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"{used.ru_utime + used.ru_stime:.1f} s of CPU time, peak memory {used.ru_maxrss / 2**20:.2f} GiB")
sys.exit(status)
"""


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=1_000_000)
    parser.add_argument("--response_tokens", type=int, default=12)
    parser.add_argument("--kind", default="marge")
    parser.add_argument("--keep", type=Path, help="folder for the dump, which is used again when it is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        if not (folder / "dump").exists():
            write_dump(folder, args.completions, args.response_tokens)
        flags = ["--kind", args.kind, "--model", folder / "model", "--out", folder / "pairs"]
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", RUN, folder / "dump", *flags], check=True)
        print(f"{args.completions} completions, kind {args.kind}: {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main()

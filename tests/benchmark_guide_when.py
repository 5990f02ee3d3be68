"""What guidance gains in entropy per token on the embedded problems, by pass rate, for each ``--marge.guide_when``.

    python tests/benchmark_guide_when.py [--base DIR] [--visits 5]

The embedded base model explores its 512 training problems, always guided, without being trained. The s_0 group of a
visit is what vanilla exploration would have had, all its groups are `always`, and `hard` has one or the other: so each
visit compares the three. Printed are ratios to vanilla of outcome entropy per completion token (Fig. 5a) with 90 %
bootstrap intervals over problems; the first visit, whose guidance comes from other completions, is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
from collections import defaultdict
from pathlib import Path

from datasets import load_dataset
from tqdm import tqdm
from transformers import AutoTokenizer

from openrlhf_marge import Explorer, GuidancePool, MargeConfig, StateGroup
from openrlhf_marge.arithmetic.pretrain import pretrain
from openrlhf_marge.grading import grade
from openrlhf_marge.host import tokens
from openrlhf_marge.host.local_ray import cpu_environment
from openrlhf_marge.host.pieces import decode_pieces
from openrlhf_marge.metrics import binary_entropy

from engine import local_engine, sampler_on

BANDS = (0.0, 0.15, 0.35, 0.5, 0.65, 0.85, 1.0)
MAX_LEN, N_COMPLETIONS = 96, 8
Cost = tuple[float, int]  # entropy in bits times completions, tokens


async def explore(base: Path, visits: int) -> dict[str, list[tuple[StateGroup, ...]]]:
    """The groups of every guided visit, by problem."""
    tokenizer, config = AutoTokenizer.from_pretrained(base / "model"), MargeConfig()
    rows = load_dataset("json", data_files=str(base / "train.jsonl"), split="train")
    prompts = [chat_prompt(tokenizer, row["input"]) for row in rows]
    problems = [
        tokens.make_problem(tokenizer, prompt, row["label"], MAX_LEN, None)
        for prompt, row in zip(prompts, rows, strict=True)
    ]
    groups = defaultdict(list)
    with local_engine(base / "model", MAX_LEN, dtype="bfloat16") as engine:
        explorer = Explorer(
            config=config, pool=GuidancePool(), seed=0, n_completions=N_COMPLETIONS,
            s0_ids=tokens.s0_token_ids(tokenizer, config),
            eos_ids=tokens.eos_token_ids(tokenizer, str(base / "model")),
            decode_pieces=lambda ids: decode_pieces(tokenizer, ids),
            sampler=sampler_on(engine, tokenizer, lambda label, response: grade(response, label).correct),
        )  # fmt: skip
        for number in tqdm(range(visits), desc="visits"):
            for exploration in await asyncio.gather(*map(explorer.explore, problems)):
                if number and exploration.groups:
                    groups[exploration.problem_id].append(exploration.groups)
    return groups


def chat_prompt(tokenizer, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def cost(groups: tuple[StateGroup, ...]) -> Cost:
    entropy = sum(len(g.completions) * binary_entropy(g.value) for g in groups)
    return entropy, sum(len(c.token_ids) for g in groups for c in g.completions)


def by_gate(visits: list[tuple[StateGroup, ...]]) -> dict[str, Cost]:
    """Entropy and tokens of a problem's visits under each gate."""
    found = {"vanilla": [], "always": [], "hard": []}
    for groups in visits:
        easy = groups[0].state.guidance.pass_rate > MargeConfig().guidance_threshold
        found["vanilla"].append(cost(groups[:1]))
        found["always"].append(cost(groups))
        found["hard"].append(cost(groups[:1] if easy else groups))
    return {gate: tuple(map(sum, zip(*costs, strict=True))) for gate, costs in found.items()}


def ratio(problems: list[dict[str, Cost]], gate: str) -> float:
    """Entropy per token over vanilla's, of all these problems together; nan where vanilla has none."""
    entropy, tokens = map(sum, zip(*(p[gate] for p in problems), strict=True))
    of_vanilla, tokens_of_vanilla = map(sum, zip(*(p["vanilla"] for p in problems), strict=True))
    return entropy / tokens / (of_vanilla / tokens_of_vanilla) if of_vanilla else float("nan")


def report(visited: dict[str, list[tuple[StateGroup, ...]]]) -> None:
    bands, rng = defaultdict(list), random.Random(0)
    for visits in visited.values():
        rate = sum(groups[0].value for groups in visits) / len(visits)
        bands[sum(rate > edge for edge in BANDS[1:])].append(by_gate(visits))
    print(f"{'pass rate':>12}{'problems':>10}{'always':>22}{'hard':>22}")
    for band, problems in sorted(bands.items()):
        cells = []
        for gate in ("always", "hard"):
            draws = sorted(ratio(rng.choices(problems, k=len(problems)), gate) for _ in range(500))
            cells.append(f"{ratio(problems, gate):.2f} [{draws[25]:.2f}, {draws[475]:.2f}]")
        name = f"{BANDS[band]:.2f}-{BANDS[band + 1]:.2f}"
        print(f"{name:>12}{len(problems):>10}{cells[0]:>22}{cells[1]:>22}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="base folder of a quickstart [one is trained]")
    parser.add_argument("--visits", type=int, default=5, help="visits of each problem [5]")
    args = parser.parse_args()
    os.environ.update(cpu_environment())
    with tempfile.TemporaryDirectory() as folder:
        if args.base is None:
            pretrain(Path(folder), seed=0)
        report(asyncio.run(explore(args.base or Path(folder), args.visits)))


if __name__ == "__main__":
    main()

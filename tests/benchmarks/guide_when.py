"""What guidance gains in outcome diversity per token on the embedded problems, by pass rate, for each
``--marge.guide_when``.

    python tests/benchmarks/guide_when.py [--base DIR] [--visits 5] [--problems 512]

The embedded base model explores its 512 training problems, always guided, without being trained. The s_0 group of a
visit is what vanilla exploration would have had, all its groups are `always`, and `hard` has one or the other: so each
visit compares the three. Printed are ratios to vanilla of outcome diversity per token (Fig. 5a) with 90 % bootstrap
intervals over problems, visits being counted in the band that the other visits of their problem say
(``guided_gain.py``). The first visit, whose guidance comes from candidates, is left out, and visits that found none.
Twice: per token of the completions, and per token that is generated at all, to which the candidates of a problem
belong, a share in each of its visits: the more often a problem is visited, the less they weigh.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from datasets import load_dataset
from tqdm import tqdm
from transformers import AutoTokenizer

from openrlhf_marge import Explorer, GuidancePool, MargeConfig, StateGroup
from openrlhf_marge.arithmetic.pretrain import pretrain
from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.grading import grade
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.metrics import outcome_diversity
from openrlhf_marge.runs.cpu import cpu_environment

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from batched_model import BatchedModel
from guided_gain import BANDS, Cost, band_of, gain

MAX_LEN, N_COMPLETIONS = 96, 8
GATES = ("vanilla", "always", "hard")


async def explore(base: Path, visits: int, problems: int) -> list[list[Exploration]]:
    """The visits of every problem."""
    tokenizer, config = AutoTokenizer.from_pretrained(base / "model"), MargeConfig()
    rows = load_dataset("json", data_files=str(base / "train.jsonl"), split="train").select(range(problems))
    prompts = [chat_prompt(tokenizer, row["input"]) for row in rows]
    asked = [
        tokens.make_problem(tokenizer, prompt, row["label"], MAX_LEN, None)
        for prompt, row in zip(prompts, rows, strict=True)
    ]
    eos_ids = tokens.eos_token_ids(tokenizer, str(base / "model"))
    explorer = Explorer(
        config=config, pool=GuidancePool(), seed=0, n_completions=N_COMPLETIONS,
        s0_ids=tokens.s0_token_ids(tokenizer, config), eos_ids=eos_ids,
        decode_pieces=lambda ids: decode_pieces(tokenizer, ids),
        sampler=BatchedModel(base / "model", tokenizer, eos_ids, verdict),
    )  # fmt: skip
    found = [await asyncio.gather(*map(explorer.explore, asked)) for _ in tqdm(range(visits), desc="visits")]
    return [list(of_problem) for of_problem in zip(*found, strict=True)]


def verdict(label: str, response: str) -> bool:
    return grade(response, label).correct


def chat_prompt(tokenizer, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def measure(groups: tuple[StateGroup, ...]) -> tuple[float, int]:
    """Diversity times completions, and tokens."""
    of_groups = [(sum(c.is_correct for c in g.completions), len(g.completions)) for g in groups]
    diversity = sum(n * outcome_diversity(n_correct, n) for n_correct, n in of_groups)
    return diversity, sum(len(c.token_ids) for g in groups for c in g.completions)


def by_gate(before: Exploration, visit: Exploration) -> list[tuple[float, int]]:
    """What a visit costs and gives with each of GATES; nan without guidance."""
    if not visit.groups:
        return [(float("nan"), float("nan"))] * len(GATES)
    easy = before.pass_rate > MargeConfig().guidance_threshold
    s_0, every = measure(visit.groups[:1]), measure(visit.groups)
    return [s_0, every, s_0 if easy else every]


def report(visited: list[list[Exploration]]) -> None:
    pairs = [list(pairwise(visits)) for visits in visited]
    measured = np.array([[by_gate(*pair) for pair in of_problem] for of_problem in pairs])  # [P, visits - 1, gates, 2]
    costs = {gate: Cost(measured[:, :, i, 0], measured[:, :, i, 1]) for i, gate in enumerate(GATES)}
    guided = ~np.isnan(measured[:, :, 0, 0])
    rates = np.array([[visit.pass_rate for _, visit in of_problem] for of_problem in pairs])
    bands = band_of(np.where(guided, rates, np.nan))
    candidates = np.array([[visit.candidate_tokens for visit in visits] for visits in visited])
    of_visit = candidates.mean(axis=1, keepdims=True)
    share = of_visit.sum() / (of_visit.sum() + np.nansum(costs["always"].tokens) / guided.shape[1])
    print(f"{(~guided).sum()} of {guided.size} visits found no guidance and are left out")
    for title, extra in (("completions", 0.0), (f"completions and candidates, {share:.0%} of all", of_visit)):
        print(f"\nper token of {title}\n{'pass rate':>12}{'problems':>10}{'visits':>8}{'always':>20}{'hard':>20}")
        for band in range(len(BANDS) - 1):
            chosen, rng = bands == band, np.random.default_rng(0)
            if not chosen.any():
                continue
            cells = []
            for gate in GATES[1:]:
                cost = Cost(costs[gate].diversity, costs[gate].tokens + extra)
                found = gain(cost, costs["vanilla"], chosen, rng)
                cells.append(f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}]")
            name = f"{BANDS[band]:.2f}-{BANDS[band + 1]:.2f}"
            print(f"{name:>12}{chosen.any(axis=1).sum():>10}{chosen.sum():>8}{cells[0]:>20}{cells[1]:>20}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="base folder of a quickstart [one is trained]")
    parser.add_argument("--visits", type=int, default=5, help="visits of each problem [5]")
    parser.add_argument("--problems", type=int, default=512, help="of the training data, from its start [512]")
    args = parser.parse_args()
    os.environ.update(cpu_environment())
    with tempfile.TemporaryDirectory() as folder:
        if args.base is None:
            pretrain(Path(folder), seed=0)
        report(asyncio.run(explore(args.base or Path(folder), args.visits, args.problems)))


if __name__ == "__main__":
    main()

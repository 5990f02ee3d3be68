"""What VinePPO pays for the advantage of a step, and what `--marge.advantage vine` on a guidance does; prints a table.

    python tests/benchmarks/vine.py [--problems 24] [--visits 60] [--steps 5] [--repairs 0.1] [--seed 0]

Problems are chains of steps whose values are known (`tests/known_values.py`), explored by the package's own strategies
with a policy that stays as it is. The advantage of every trained step is compared with the true one, V(s_{j+1}) -
V(s_j). Bias and variance are those among steps of one problem and place with the same outcome before and after.
Completion-level advantages stand beside it: they give all steps of a response the same number.

"RMSE at 1,000" is the RMSE times the root of the generated tokens in thousands, as errors fall with the root of what
is spent. "signal" is the sum of squared true advantages of trained steps for 1,000 generated tokens, times the share
that the estimates explain (their squared correlation). The squared ratio of signal and noise of an update is
proportional to it, if steps bring independent gradients. How many problems the steps are from is no part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from known_values import (
    S0,
    STEP_LABEL,
    Chain,
    Errors,
    KnownModel,
    StepAdvantage,
    errors_of,
    of_completions,
    of_guidance,
)

from openrlhf_marge.method.groups import Exploration

from factories import explorer, problem, text_ids


@dataclass(frozen=True)
class Method:
    """Flags of the exploration, completions a state, and the advantage that its completions get."""

    name: str
    n: int
    advantage: str
    flags: dict[str, Any] = field(default_factory=dict)


VINE = {"explore": "guided", "guidance_source": "fresh"}
FROM_S0 = {"explore": "vanilla", "n_states": 1, "split": "tokens"}
METHODS = (
    *(Method(f"vineppo, K = {k}", 8, "vine", {"explore": "vineppo", "vine_samples": k}) for k in (1, 3, 9)),
    *(Method(f"vine, n = {n}", n, "vine", VINE) for n in (4, 8, 16, 40)),
    *(Method(f"{kind}, n = {n}", n, kind, FROM_S0) for kind in ("mean", "group_norm") for n in (8, 40)),
)


@dataclass
class Found:
    """What the visits of a method gave."""

    tokens: int = 0  # generated
    trained: int = 0  # tokens
    of_guidance: list[StepAdvantage] = field(default_factory=list)
    of_completions: list[StepAdvantage] = field(default_factory=list)

    def add(self, chain: Chain, exploration: Exploration, method: Method) -> None:
        groups = exploration.groups
        self.tokens += sum(g.n_tokens for g in (*groups, *exploration.untrained))
        self.trained += sum(g.n_tokens for g in groups)
        for group in groups:
            self.of_completions += of_completions(chain, group, method.advantage)
        if method.flags is VINE:
            self.trained += sum(g.state.segment for g in groups)
            self.of_guidance += of_guidance(chain, groups)


def make_chains(n: int, steps: int, repairs: float, seed: int) -> dict[str, Chain]:
    """Problems without repairs solved between 5 and 95 %, evenly, their steps of different difficulty."""
    rng, chains = random.Random(seed), {}
    for number in range(n):
        rate = 0.05 + 0.9 * (number + 0.5) / n
        weights = [rng.expovariate(1) for _ in range(steps)]
        chains[f"p{number}"] = Chain(tuple(rate ** (w / sum(weights)) for w in weights), repairs)
    return chains


async def explored(method: Method, chains: dict[str, Chain], visits: int, seed: int) -> Found:
    """All visits of all problems."""
    flags = {"split": "step", "step_label": STEP_LABEL, "cot_prefix": S0} | method.flags
    chain_of = explorer(KnownModel(chains), s0_ids=text_ids(S0), n=method.n, seed=seed, **flags)
    found = Found()
    for name, chain in chains.items():
        for _ in range(visits):
            found.add(chain, await chain_of.explore(problem(name, room=500)), method)
    return found


def lines(method: Method, found: Found, visits: int) -> list[str]:
    """The rows of a method: all steps, and where both are trained those of the guidance and of completions apart."""
    tokens, trained = found.tokens / visits, found.trained / visits
    parts = {method.name: [*found.of_guidance, *found.of_completions]}
    if found.of_guidance:
        parts |= {"  guidance": found.of_guidance, "  completions": found.of_completions}
    return [line(name, errors_of(steps), len(steps) / visits, tokens, trained) for name, steps in parts.items()]


def line(name: str, errors: Errors, steps: float, tokens: float, trained: float) -> str:
    thousands = tokens / 1000
    cells = (
        f"{tokens:,.0f}", f"{trained:,.0f}", f"{steps:.1f}", f"{errors.bias:.3f}", f"{errors.variance:.4f}",
        f"{errors.rmse:.3f}", f"{errors.rmse * thousands**0.5:.3f}", f"{errors.correlation:.3f}",
        f"{steps * errors.explained / thousands:.2f}",
    )  # fmt: skip
    return f"| {name} | {' | '.join(cells)} |"


HEADS = (
    *("advantage", "generated tokens a problem", "trained on", "trained steps", "bias", "variance", "RMSE"),
    *("RMSE at 1,000", "correlation", "signal"),
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=24)
    parser.add_argument("--visits", type=int, default=60, help="of each problem, for each method")
    parser.add_argument("--steps", type=int, default=5, help="of a response, at most 9; 9 tokens each")
    parser.add_argument("--repairs", type=float, default=0.1, help="chance that a step makes a wrong path right")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print(f"seed {args.seed}, {args.problems} problems of {args.steps} steps, {args.visits} visits of each")
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}")
    chains = make_chains(args.problems, args.steps, args.repairs, args.seed)
    for method in METHODS:
        found = asyncio.run(explored(method, chains, args.visits, args.seed))
        print("\n".join(lines(method, found, args.problems * args.visits)), flush=True)


if __name__ == "__main__":
    main()

"""Problems -> explorations in the folder, a fixed number of problems at once, none waiting for another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from openrlhf_marge.exploration.folder import ExplorationFolder
from openrlhf_marge.method.explorer import Explorer
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.types import Problem


async def explore_all(
    explorer: Explorer, folder: ExplorationFolder, problems: Sequence[Problem], in_flight: int,
    most_tokens: int | None = None, seen: Callable[[Exploration], object] = lambda exploration: None,
) -> None:  # fmt: skip
    """Explore those that the folder does not hold yet; after ``most_tokens`` generated tokens no further is begun.

    In the order of the data, but what earlier explorations visited comes last: a budget would else reach the same
    problems in every iteration of a loop. ``seen`` is told each exploration.
    """
    left = sorted((p for p in problems if not folder.is_done(p.id)), key=lambda p: explorer.pool.visits(p.id))
    waiting, start, tokens_before = iter(left), time.monotonic(), folder.totals.generated_tokens

    async def work() -> None:
        for problem in waiting:
            if most_tokens is not None and folder.totals.generated_tokens >= most_tokens:
                return
            exploration = await explorer.explore(problem)
            folder.add(exploration)
            seen(exploration)
            rate = (folder.totals.generated_tokens - tokens_before) / (time.monotonic() - start)
            progress.set_postfix_str(f"{rate:.0f} tokens/s", refresh=False)
            progress.update()

    done = len(problems) - len(left)
    with tqdm(total=len(problems), initial=done, desc="Explore problems", unit="problem") as progress:
        await asyncio.gather(*(work() for _ in range(in_flight)))

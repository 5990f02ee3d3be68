"""The strategies of ``--marge.explore``: what one visit of a problem samples, trains on and remembers, a file each.

Another package may bring its own, see EXTENDING.md; ``visit.py`` has what a strategy is given, ``traits.py`` what it
says of itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from openrlhf_marge.entry_points import Registry
from openrlhf_marge.method.explorations.frontier import frontier
from openrlhf_marge.method.explorations.guided import guided
from openrlhf_marge.method.explorations.mcts_dpo import mcts_dpo
from openrlhf_marge.method.explorations.spo_tree import spo_tree
from openrlhf_marge.method.explorations.traits import check_strategy
from openrlhf_marge.method.explorations.tree_rl import tree_rl
from openrlhf_marge.method.explorations.vanilla import vanilla
from openrlhf_marge.method.explorations.vineppo import vineppo
from openrlhf_marge.method.groups import Exploration

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit

Strategy = Callable[["Visit"], Awaitable[Exploration]]

EXPLORATIONS: Registry[Strategy] = Registry(
    flag="--marge.explore",
    group="openrlhf_marge.explorations",
    own={
        "guided": guided,
        "vanilla": vanilla,
        "frontier": frontier,
        "vineppo": vineppo,
        "spo_tree": spo_tree,
        "tree_rl": tree_rl,
        "mcts_dpo": mcts_dpo,
    },
    check=check_strategy,
)

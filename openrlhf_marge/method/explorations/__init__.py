"""The strategies of ``--marge.explore``: what one visit of a problem samples, trains on and remembers, a file each.

Another package may bring its own, see EXTENDING.md; ``visit.py`` has what a strategy is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from openrlhf_marge.entry_points import Registry, function_of
from openrlhf_marge.method.explorations.frontier import frontier
from openrlhf_marge.method.explorations.guided import guided
from openrlhf_marge.method.explorations.mcts_dpo import mcts_dpo
from openrlhf_marge.method.explorations.spo_tree import spo_tree
from openrlhf_marge.method.explorations.tree_rl import tree_rl
from openrlhf_marge.method.explorations.vanilla import vanilla
from openrlhf_marge.method.explorations.vineppo import vineppo
from openrlhf_marge.types import Exploration

if TYPE_CHECKING:
    from openrlhf_marge.method.visit import Visit

# Their completions bring an advantage for every token; of trees they need the tokens' log-probs.
TREES = frozenset({"spo_tree", "tree_rl"})
WEIGH_TOKENS = frozenset({"vineppo", *TREES})
# They look for preference pairs, and have nothing to train on with rewards; they read the tokens' log-probs, too.
SEARCHES = frozenset({"mcts_dpo"})
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
    check=function_of("(visit) -> exploration"),
)

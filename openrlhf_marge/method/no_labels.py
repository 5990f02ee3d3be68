"""That guidance has nothing that ``--marge.split`` cuts at, in words: it is cut by tokens, in the middle of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.groups import Exploration
from openrlhf_marge.method.metrics import guidances_of
from openrlhf_marge.types import TokenIds

SHOWN_CHARS = 200  # of the beginning of a guidance


class WithoutLabels:
    """Takes explorations as they come; of their guidances it keeps counts, and the first one without a label."""

    def __init__(self, config: MargeConfig) -> None:
        self._config = config
        self._guidances = self._without = 0
        self._example: TokenIds = ()

    def add(self, exploration: Exploration) -> None:
        without = guidances_of(exploration, without_labels=True)
        self._guidances += len(guidances_of(exploration))
        self._without += len(without)
        if without and not self._example:
            self._example = without[0].token_ids[len(exploration.groups[0].state.prefix_ids) :]

    def sentence(self, decode: Callable[[Sequence[int]], str]) -> str | None:
        """What was found, with an example; None where most guidances have labels."""
        if 2 * self._without <= self._guidances:
            return None
        config = self._config
        mend = (
            f"; set --marge.step_label {config.step_label!r} to how its steps begin" if config.split == "step" else ""
        )
        return (
            f"{self._without} of {self._guidances} guidances have nothing that --marge.split {config.split} cuts at, "
            f"so they are cut by tokens. The model writes, for example, {decode(self._example)[:SHOWN_CHARS]!r}{mend}."
        )


def without_labels(
    explorations: Iterable[Exploration], config: MargeConfig, decode: Callable[[Sequence[int]], str]
) -> str | None:
    """The sentence about some explorations."""
    found = WithoutLabels(config)
    for exploration in explorations:
        found.add(exploration)
    return found.sentence(decode)

"""Says once when the model's guidance has no step labels: it is then cut by tokens, in the middle of its steps."""

from __future__ import annotations

from typing import Any

from openrlhf.utils.logging_utils import init_logger

from openrlhf_marge.explorer import Exploration, Explorer
from openrlhf_marge.metrics import guidances_of
from openrlhf_marge.types import Guidance, Problem

logger = init_logger(__name__)
SHOWN = 200  # characters of the example


class LabelWatch:
    """An explorer that looks at its first ``problems``, a run's first iteration, and then at no other."""

    def __init__(self, explorer: Explorer, tokenizer: Any, problems: int) -> None:
        self._explorer, self._tokenizer, self._left = explorer, tokenizer, problems
        self._guidances = 0
        self._without: list[Guidance] = []

    async def explore(self, problem: Problem) -> Exploration:
        exploration = await self._explorer.explore(problem)
        self._left -= 1
        if self._left >= 0:
            self._guidances += len(guidances_of(exploration))
            self._without += guidances_of(exploration, without_labels=True)
        if self._left == 0 and 2 * len(self._without) > self._guidances:
            logger.warning(self._notice())
        return exploration

    def _notice(self) -> str:
        config = self._explorer.config
        mend = (
            f"; set --marge.step_label {config.step_label!r} to how its steps begin" if config.split == "step" else ""
        )
        ids = self._without[0].token_ids[len(self._explorer.s0_ids) :]
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return (
            f"[marge] {len(self._without)} of the first {self._guidances} guidances have nothing that --marge.split "
            f"{config.split} cuts at, so they are cut by tokens; the model writes, for example, {text[:SHOWN]!r}{mend}"
        )

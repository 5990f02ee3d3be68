"""What a rollout tells of a run that goes wrong: sentences for its log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from openrlhf_marge.method.collapse import collapsed
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.groups import Exploration, StateGroup
from openrlhf_marge.method.no_guidance import Decode, without_guidance
from openrlhf_marge.method.no_signal import no_groups, too_old
from openrlhf_marge.method.recommendation import recommendation
from openrlhf_marge.method.schedule import wrong_plan


class Advice:
    """Looks at a run's rollouts as they come; a sentence that would only repeat itself comes once.

    ``planned_steps`` are the optimizer steps of the learning-rate schedule (None where no plan can be missed), for
    ``n_samples`` completions of each of ``config.scheduled_states`` states a problem.
    """

    def __init__(self, config: MargeConfig, decode: Decode, n_samples: int, planned_steps: int | None) -> None:
        self._config, self._decode = config, decode
        self._n_samples, self._planned_steps = n_samples, planned_steps
        self._once: set[str] = set()

    def after(
        self, rollout: int, explorations: Sequence[Exploration], groups: Sequence[StateGroup], n_problems: int
    ) -> list[str]:
        """The sentences after the rollout of this number, the first being 1.

        One for every rollout without groups. Once each: which preset suits such data, why problems found no
        guidance, that completions repeat each other, and that other states came than the schedule counts on.
        """
        said = [] if groups else [no_groups(rollout, n_problems)]
        if rollout == 1:
            said += self._first("preset", lambda: recommendation(explorations, self._config))
        said += self._first("guidance", lambda: without_guidance(explorations, self._decode, self._config.stop))
        said += self._first("collapse", lambda: collapsed(groups))
        return said + self._plan(groups, n_problems)

    def too_old(self, n_groups: int) -> list[str]:
        """Once: that so many groups, where it is any, were older than ``--marge.max_age``."""
        return self._first("age", lambda: too_old(n_groups, self._config.max_age) if n_groups else None)

    def _first(self, kind: str, sentence: Callable[[], str | None]) -> list[str]:
        """The sentence, where there is one and none of its kind came before."""
        said = None if kind in self._once else sentence()
        if said is None:
            return []
        self._once.add(kind)
        return [said]

    def _plan(self, groups: Sequence[StateGroup], n_problems: int) -> list[str]:
        """The first rollout with groups is held to the schedule, and no later one: pass rates move as a run learns."""
        if not groups or self._planned_steps is None or "plan" in self._once:
            return []
        self._once.add("plan")
        states = sum(len(group.trained) for group in groups) / self._n_samples / n_problems
        sentence = wrong_plan(self._planned_steps, self._config.scheduled_states, states)
        return [] if sentence is None else [sentence]

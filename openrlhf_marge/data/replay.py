"""Rollouts from a dump in place of the engines (``--marge.replay_dir``)."""

from __future__ import annotations

import os
from dataclasses import replace

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import count_trained, read_groups
from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.seeds import stable_hash


class Replay:
    """One file a rollout, in order; an episode is all of them."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self._files = dump_files(folder)
        self._rollouts = 0

    @property
    def n_completions(self) -> int:
        """Completions of an episode, those that are trained on."""
        return count_trained(self._files)

    def skip(self, rollouts: int) -> None:
        """Go on after so many rollouts."""
        self._rollouts = rollouts

    def next(self) -> tuple[list[StateGroup], int, bool]:
        """Groups, problems, and whether the episode is over; group ids are told apart by the episode."""
        episode, place = divmod(self._rollouts, len(self._files))
        self._rollouts += 1
        groups = [replace(g, id=stable_hash(g.id, episode) >> 1) for g in read_groups(self._files[place])]
        return groups, len({g.problem.id for g in groups}), place + 1 == len(self._files)

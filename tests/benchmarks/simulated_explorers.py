"""Explorers of a simulated cluster: in this process, one after the other, each from the same virtual moment on."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray import cloudpickle

from openrlhf_marge.host.rollout.explorations import Workplace
from openrlhf_marge.host.rollout.explorer_actor import explore_share
from openrlhf_marge.host.rollout.explorers import Explorers
from openrlhf_marge.host.rollout.shares import Explored, engine_shares
from openrlhf_marge.host.rollout.weight_version import FixedVersion

if TYPE_CHECKING:
    from simulated_cluster import Cluster

    from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator


class SimulatedExplorers(Explorers):
    """Divides, packs, unpacks and merges as the package does; what goes between processes is really pickled.

    ``seconds`` are CPU seconds of each explorer's thread, ``packed`` the bytes of all answers. Neither an explorer's
    seconds nor those of the simulation are the driver's.
    """

    def __init__(self, cluster: Cluster, generator: GuidedSamplesGenerator, n: int) -> None:
        self._shares, self._cluster = engine_shares(len(cluster.engines), n), cluster
        self._places = [
            Workplace(
                args=generator.args,
                tokenizer=generator.tokenizer,
                engines=cluster.engines[share.start : share.stop],
                rewards=generator.reward_client,
                first_engine=share.start,
            )
            for share in self._shares
        ]
        self.seconds, self.packed = [0.0] * n, 0

    def _answers(self, asked: Mapping[int, tuple[Any, ...]]) -> dict[int, list[Explored]]:
        clock = self._cluster.clock
        begin, ends, answers = clock.now, [], {}
        for explorer, given in asked.items():
            clock.now, sent = begin, cloudpickle.dumps(given)
            answers[explorer] = self._explored(explorer, sent)
            ends.append(clock.now)
        clock.now = max(ends)
        self.packed += sum(len(piece) for pieces in answers.values() for piece in pieces)
        return {explorer: [pickle.loads(piece) for piece in pieces] for explorer, pieces in answers.items()}

    def _explored(self, explorer: int, sent: bytes) -> list[bytes]:
        meter = self._cluster.meter
        simulated, start = meter.seconds, time.thread_time()
        gc.enable()  # as in a process of its own
        given = pickle.loads(sent)
        assert isinstance(given[2], FixedVersion), "it goes to another process"
        answer = [cloudpickle.dumps(piece) for piece in explore_share(self._places[explorer], *given)]
        gc.disable()
        spent = time.thread_time() - start
        self.seconds[explorer] += spent - (meter.seconds - simulated)
        meter.seconds = simulated + spent
        return answer

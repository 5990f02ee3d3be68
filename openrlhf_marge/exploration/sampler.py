"""A sampler that asks the engines only for what the journal does not hold yet."""

from __future__ import annotations

from openrlhf_marge.exploration.journal import Journal
from openrlhf_marge.method.sampler import Sampler
from openrlhf_marge.seeds import stable_hash
from openrlhf_marge.types import Completion, Problem, TokenIds


class JournaledSampler:
    """``visit.Sampler`` over another one. A visit's seeds tell its requests apart (see ``Visit.sample``)."""

    def __init__(self, sampler: Sampler, journal: Journal) -> None:
        self._sampler, self._journal = sampler, journal

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """n completions of the prefix, sampled once however often the exploration is started."""
        request = stable_hash(prefix_ids, n, seed)
        completions = self._journal.get(problem.id, request)
        if completions is None:
            completions = await self._sampler.complete(problem, prefix_ids, n, seed)
            self._journal.add(problem.id, request, completions)
        return completions

    async def judged(self, problem: Problem, ids: TokenIds, option: int) -> Completion:
        """The model's answer, asked for once however often the exploration is started."""
        request = stable_hash("judged", ids, option)
        answer = self._journal.get(problem.id, request)
        if answer is None:
            answer = [await self._sampler.judged(problem, ids, option)]
            self._journal.add(problem.id, request, answer)
        return answer[0]

    async def is_correct(self, problem: Problem, response_ids: TokenIds) -> bool:
        return await self._sampler.is_correct(problem, response_ids)

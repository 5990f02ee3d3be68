"""A small model that completes the states of many problems at once, by transformers: for benchmarks without vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from openrlhf_marge.types import Completion, Problem, TokenIds

ROWS = 2048  # of a pass
SECONDS = 0.05  # that a pass waits for more requests after the first one


@dataclass(frozen=True)
class Request:
    problem: Problem
    prefix_ids: TokenIds
    n: int
    answer: asyncio.Future[list[Completion]]

    @property
    def prompt_ids(self) -> TokenIds:
        return self.problem.prompt_ids + self.prefix_ids


@dataclass
class BatchedModel:
    """A ``visit.Sampler``; ``verdict`` takes (label, response) and says whether it is correct. Sampled as in training:
    temperature 0.8, top-p 0.95.
    """

    folder: Path
    tokenizer: Any
    eos_ids: frozenset[int]
    verdict: Callable[[str, str], bool]
    _waiting: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self._model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32).eval()
        self._eos_ids = sorted(self.eos_ids)

    async def complete(self, problem: Problem, prefix_ids: TokenIds, n: int, seed: int) -> list[Completion]:
        """The seed is not used: a pass has one generator for all."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(SECONDS, self._answer)
        self._waiting.append(request := Request(problem, prefix_ids, n, loop.create_future()))
        return await request.answer

    def _answer(self) -> None:
        # Prompts of like length together, which need little padding.
        requests, self._waiting = sorted(self._waiting, key=lambda r: len(r.prompt_ids)), []
        rows = [request for request in requests for _ in range(request.n)]
        sampled = [ids for i in range(0, len(rows), ROWS) for ids in self._generate(rows[i : i + ROWS])]
        for request in requests:
            completions = [self._grade(request, ids) for ids in sampled[: request.n]]
            del sampled[: request.n]
            request.answer.set_result(completions)

    def _generate(self, rows: Sequence[Request]) -> list[TokenIds]:
        """One completion of each, up to the first EOS, which is included, or to the room of its problem."""
        width = max(len(row.prompt_ids) for row in rows)
        missing = torch.tensor([width - len(row.prompt_ids) for row in rows])
        ids = torch.tensor([[self._eos_ids[0]] * (width - len(row.prompt_ids)) + [*row.prompt_ids] for row in rows])
        rooms = [row.problem.max_response_tokens - len(row.prefix_ids) for row in rows]
        with torch.inference_mode():
            out = self._model.generate(
                ids, attention_mask=(torch.arange(width) >= missing[:, None]).long(), max_new_tokens=max(rooms),
                do_sample=True, temperature=0.8, top_p=0.95, top_k=0, eos_token_id=self._eos_ids,
                pad_token_id=self._eos_ids[0],
            )  # fmt: skip
        return [self._cut(sampled, room) for sampled, room in zip(out[:, width:].tolist(), rooms, strict=True)]

    def _cut(self, sampled: list[int], room: int) -> TokenIds:
        end = next((i + 1 for i, token in enumerate(sampled) if token in self._eos_ids), room)
        return tuple(sampled[: min(end, room)])

    def _grade(self, request: Request, ids: TokenIds) -> Completion:
        response = self.tokenizer.decode([*request.prefix_ids, *ids], skip_special_tokens=False)
        correct = self.verdict(request.problem.label, response)
        return Completion(token_ids=ids, reward=float(correct), is_correct=correct)

"""Builders of core objects for tests: short to call, complete by default."""

from __future__ import annotations

import asyncio
import itertools

from openrlhf_marge import Completion, Explorer, GuidancePool, MargeConfig, Problem, State, StateGroup

EOS = 0


def problem(name: str = "p", *, room: int = 100, prompt_ids=(1, 2)) -> Problem:
    return Problem(id=name, prompt=f"prompt {name}", label="7", prompt_ids=prompt_ids, max_response_tokens=room)


def completion(reward: float = 1.0, ids=(5, EOS), **kwargs) -> Completion:
    return Completion(token_ids=tuple(ids), reward=reward, is_correct=reward > 0.5, **kwargs)


def group(group_id: int = 0, rewards=(1.0, 0.0), *, index: int = 0, n_states: int = 1, correct=True) -> StateGroup:
    return StateGroup(
        id=group_id,
        problem=problem(),
        state=State(index=index, prefix_ids=tuple(range(10, 10 + index))),
        n_states=n_states,
        guidance_is_correct=correct,
        completions=tuple(completion(r) for r in rewards),
    )


def letters(ids) -> list[str]:
    """A scripted tokenizer: token id n is the n-th character of ASCII."""
    return [chr(i) for i in ids]


def text_ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


class ScriptedModel:
    """Completes states from a script and records every call: ``script(problem, prefix_ids, n) -> completions``."""

    def __init__(self, script, delays=None) -> None:
        self.calls: list[tuple[str, tuple[int, ...], int]] = []
        self._script = script
        self._delays = delays

    async def complete(self, asked: Problem, prefix_ids, n):
        self.calls.append((asked.id, prefix_ids, n))
        await asyncio.sleep(next(self._delays) if self._delays else 0)
        return self._script(asked, prefix_ids, n)


def explorer(model: ScriptedModel, *, s0_ids=(), n: int = 4, seed: int = 0, **config) -> Explorer:
    return Explorer(
        config=MargeConfig(**{"split": "tokens", "n_states": 3, "n_candidates": 6} | config),
        pool=GuidancePool(seed),
        s0_ids=s0_ids,
        eos_ids=frozenset({EOS}),
        n_completions=n,
        complete=model.complete,
        decode_pieces=letters,
        group_ids=itertools.count(),
    )

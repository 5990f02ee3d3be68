"""Builders of core objects for tests: short to call, complete by default."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from openrlhf_marge import Completion, Explorer, Guidance, GuidancePool, MargeConfig, Problem, State, StateGroup

EOS = 0


def problem(name: str = "p", *, room: int = 100, prompt_ids=(1, 2), given=None) -> Problem:
    return Problem(
        id=name, prompt=f"prompt {name}", label="7", prompt_ids=prompt_ids, max_response_tokens=room,
        given_guidance=given,
    )  # fmt: skip


def guidance(ids=(10, 11, 12), *, correct: bool = True, pass_rate: float = 0.5, visit: int = 0) -> Guidance:
    return Guidance(token_ids=tuple(ids), is_correct=correct, pass_rate=pass_rate, visit=visit)


def completion(reward: float = 1.0, ids=(5, EOS), **kwargs) -> Completion:
    return Completion(token_ids=tuple(ids), reward=reward, is_correct=reward > 0.5, **kwargs)


def group(group_id: int = 0, rewards=(1.0, 0.0), *, index: int = 0, n_states: int = 1, correct=True) -> StateGroup:
    guide = guidance(tuple(range(10, 20)), correct=correct)
    return StateGroup(
        id=group_id,
        problem=problem(),
        state=State(index=index, prefix_ids=guide.token_ids[:index], position=index / 10, guidance=guide),
        n_states=n_states,
        completions=tuple(completion(r) for r in rewards),
    )


def letters(ids) -> list[str]:
    """A scripted tokenizer: token id n is the n-th character of ASCII."""
    return [chr(i) for i in ids]


def text_ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


class ScriptedModel:
    """Completes states from a script and records every call: ``script(problem, prefix_ids, n) -> completions``."""

    def __init__(self, script, delays=None, correct: bool = True, judge=None) -> None:
        self.calls: list[tuple[str, tuple[int, ...], int]] = []
        self.seeds: list[int] = []
        self._script = script
        self._delays = delays
        self._correct = correct
        self.judgements: list[tuple[tuple[int, ...], int]] = []
        self._judge = judge

    async def complete(self, asked: Problem, prefix_ids, n, seed):
        self.calls.append((asked.id, prefix_ids, n))
        self.seeds.append(seed)
        await asyncio.sleep(next(self._delays) if self._delays else 0)
        return self._script(asked, prefix_ids, n)

    async def is_correct(self, asked: Problem, response_ids):
        return self._correct

    async def judged(self, asked: Problem, ids, option):
        self.judgements.append((ids, option))
        probability = self._judge(ids)
        return Completion(token_ids=(option,), reward=probability, is_correct=probability > 0.5)


def explorer(
    model, *, pool: GuidancePool | None = None, s0_ids=(), n: int = 4, seed: int = 0, question=None, **config
) -> Explorer:
    return Explorer(
        config=MargeConfig(**{"split": "tokens", "n_states": 3, "n_candidates": 6} | config),
        pool=GuidancePool() if pool is None else pool,
        seed=seed,
        s0_ids=s0_ids,
        eos_ids=frozenset({EOS}),
        n_completions=n,
        sampler=model,
        decode_pieces=letters,
        question=question,
    )


def distribution(folder: Path, name: str, files: Mapping[str, str], entry_points: str) -> None:
    """A package, installed once ``folder`` is on the path; ``files`` are texts by path, ``entry_points`` as pip's."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)

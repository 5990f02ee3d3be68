"""Tree searches of a scripted model over texts of the embedded tokenizer, for tests of the pairs that they give."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

from openrlhf_marge import Completion, Explorer, GuidancePool, MargeConfig, StateGroup
from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.host.rollout.tokens import encode

from factories import ScriptedModel
from scripted_dumps import COT_PREFIX, problem, tokenizer

Written = tuple[str, float]  # a completion's text and reward


def completion(text: str, reward: float, *, truncated: bool = False, stop: str = "") -> Completion:
    """Ends with EOS, or with a stop text, or at the length limit."""
    end = () if truncated else encode(tokenizer(), stop) if stop else (tokenizer().eos_token_id,)
    ids = encode(tokenizer(), text) + end
    return Completion(
        token_ids=ids, reward=reward, is_correct=reward > 0.5, truncated=truncated, log_probs=(-0.5,) * len(ids)
    )


def searched(
    write: Callable[[str, int], Sequence[Written | Completion]], *, n: int = 4, stop=(), **config
) -> tuple[StateGroup, ...]:
    """The groups of a visit; ``write(state, n)`` gives n completions of what follows ``COT_PREFIX``."""

    def script(_, prefix, n):
        text = tokenizer().decode(prefix).removeprefix(COT_PREFIX)
        return [c if isinstance(c, Completion) else completion(*c) for c in write(text, n)]

    explorer = Explorer(
        config=MargeConfig(explore="mcts_dpo", stop=stop, **config), pool=GuidancePool(), seed=0,
        s0_ids=encode(tokenizer(), COT_PREFIX), eos_ids=frozenset({tokenizer().eos_token_id}), n_completions=n,
        sampler=ScriptedModel(script), decode_pieces=functools.partial(decode_pieces, tokenizer()),
    )  # fmt: skip
    return asyncio.run(explorer.explore(problem())).groups

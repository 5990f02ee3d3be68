"""What vLLM answers with: whether it is whole, where a completion ends, its text and its log-probs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from openrlhf_marge.decoding import decode_pieces


def check_outputs(outputs: Sequence[Any], n: int) -> None:
    """ValueError unless there are n outputs, which ended by themselves or at the length limit.

    What an engine gave up, as when it is shut down, is no completion.
    """
    if len(outputs) != n:
        raise ValueError(f"it answered with {len(outputs)} completions where {n} were asked for")
    for output in outputs:
        if output.finish_reason not in ("stop", "length") or not output.token_ids:
            ended = f"{len(output.token_ids)} tokens ended with {output.finish_reason!r}"
            raise ValueError(f"a completion of {ended}, so it is not whole")


def before_stop_text(text: str, stop_reason: int | str | None) -> str:
    """The response as it is graded: up to the stop text that ended it."""
    end = text.rfind(stop_reason) if isinstance(stop_reason, str) else -1
    return text if end < 0 else text[:end]


def completed_at(tokenizer: Any, output: Any) -> int:
    """Tokens of a completion: all, or those up to the one that completes the stop text which ended it.

    vLLM looks for the text after a step, which may have brought more than one token.
    """
    if not isinstance(output.stop_reason, str):
        return len(output.token_ids)
    pieces = decode_pieces(tokenizer, output.token_ids)
    begin = "".join(pieces).find(output.stop_reason)
    if begin < 0:
        return len(pieces)
    complete = begin + len(output.stop_reason)
    return 1 + sum(end < complete for end in accumulate(map(len, pieces)))


def sampled_log_probs(output: Any, end: int) -> tuple[float, ...] | None:
    """Log-probs of the first ``end`` sampled tokens, when vLLM was asked for them.

    They come as a dict for each token, or flat (``flat_logprobs``): lists over all tokens, in which the sampled token
    is the first at its place. ValueError where another one is.
    """
    log_probs = output.logprobs
    if log_probs is None:
        return None
    if not hasattr(log_probs, "start_indices"):
        sampled = list(zip(output.token_ids, log_probs, strict=True))[:end]
        return tuple(entry[token].logprob for token, entry in sampled)
    starts = log_probs.start_indices[:end]
    if [log_probs.token_ids[start] for start in starts] != list(output.token_ids[:end]):
        raise ValueError("its log-probs are of other tokens than those that it sampled")
    return tuple([log_probs.logprobs[start] for start in starts])

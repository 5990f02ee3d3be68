"""A causal language model's log-probs of actions, with every distinct token of the rows computed once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from openrlhf_marge.prefix_sharing.forest import Forest


class ActionLogProbs(NamedTuple):
    """What a forward over a forest gives, in the order and shape of its rows; zeros where nothing was asked for."""

    log_probs: torch.Tensor  # (B, A), float32 unless the model has more
    entropy: torch.Tensor | None  # (B, A), nats
    output: Any  # the model's own; its logits are those of the places that predict


def action_log_probs(
    model: Any,
    forest: Forest,
    sequences: torch.Tensor,
    action_mask: torch.Tensor,
    temperature: float = 1.0,
    with_entropy: bool = False,
    **options: Any,
) -> ActionLogProbs:
    """Log-probs of the tokens that ``action_mask`` (B, A) marks among the last A of ``sequences`` (B, L), A < L.

    ``model`` must have the attention ``prefix_sharing.attention.NAME``. It is called with ``options`` beside the
    forest. Logits are made at the places that predict an action; one place may predict several tokens.
    """
    rows, columns = action_mask.nonzero(as_tuple=True)
    predicting = columns + sequences.shape[1] - 1 - action_mask.shape[1]
    places = forest.where[rows, predicting]
    if not len(places):  # every rank makes the same calls, so one without actions asks for a logit and uses none
        places = places.new_zeros(1)
    kept, inverse = places.unique(return_inverse=True)
    output = model(
        forest.ids[None],
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=kept.device),  # a 4D mask is taken as it is
        position_ids=forest.depths[None],
        use_cache=False,
        logits_to_keep=kept,
        forest=forest,
        **options,
    )
    logits = output.logits[0].to(torch.promote_types(output.logits.dtype, torch.float32))
    if temperature != 1.0:
        logits = logits / temperature
    normalizer = logits.logsumexp(dim=-1)
    inverse = inverse[: len(rows)]
    labels = sequences[rows, predicting + 1]
    log_probs = _scatter(logits[inverse, labels] - normalizer[inverse], rows, columns, action_mask)
    entropy = None
    if with_entropy:
        per_place = normalizer - (logits.softmax(dim=-1) * logits).sum(dim=-1)
        entropy = _scatter(per_place[inverse], rows, columns, action_mask)
    return ActionLogProbs(log_probs, entropy, output)


def _scatter(
    values: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, action_mask: torch.Tensor
) -> torch.Tensor:
    empty = torch.zeros(action_mask.shape, dtype=values.dtype, device=values.device)
    return empty.index_put((rows, columns), values)

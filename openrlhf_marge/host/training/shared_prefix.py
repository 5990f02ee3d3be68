"""``--marge.share_prefix``: an Actor computes common prefixes of a micro-batch once (extends models/actor.py)."""

from __future__ import annotations

from typing import Any

import ray
import torch
from openrlhf.models import Actor
from openrlhf.utils.logging_utils import init_logger

from openrlhf_marge.host.training.tree_batches import TreeReplayBuffer
from openrlhf_marge.prefix_sharing import Forest, action_log_probs, grow
from openrlhf_marge.prefix_sharing.attention import NAME
from openrlhf_marge.prefix_sharing.models import check_served
from openrlhf_marge.prefix_sharing.saved import SavedTokens

logger = init_logger(__name__)

# Tokens of all rows for each distinct one, below which every row is computed: what would be saved is not worth the
# attention to uneven paths (``tests/benchmarks/prefix_sharing.py``).
LEAST_RATIO = 1.1
# Largest difference of a log-prob between both ways, in nats. A path that is wrong by one token gives several nats
# with a trained model; half floats differ by tenths at rare tokens, as they do between two stock attentions.
BOUNDS = {torch.float32: 1e-3, torch.float64: 1e-6}
HALF_BOUND = 1.0
CHECKED_TOKENS = 4096  # of the rows computed both ways, or as many as are distinct


class SharedForward:
    """Takes the place of ``Actor.forward``, with its arguments and what it returns."""

    def __init__(self, actor: Actor, model: Any) -> None:
        check_served(model)
        self.saved = SavedTokens()
        self._actor = actor
        self._every_row = actor.forward
        self._config = model.config
        self._stock_attention = model.config._attn_implementation
        self._checked = False
        # Experts would count their load over distinct tokens; the loss that needs their load is refused.
        self._options = {"output_router_logits": False} if hasattr(model.config, "output_router_logits") else {}

    def __call__(
        self,
        sequences: torch.Tensor,
        action_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        return_output: bool = False,
        return_entropy: bool = False,
        **options: Any,
    ) -> Any:
        """Replaces the host's forward: ``sequences`` (B, L), ``action_mask`` (B, A) -> log-probs (B, A) [, output].

        The log-probs are of the actions, 0 elsewhere. With ``return_entropy`` the output's entropy is of the actions
        only, (B, A), in nats.
        """
        options |= dict(return_output=return_output, return_entropy=return_entropy)
        if action_mask is None or attention_mask is None:
            return self._stock(sequences, action_mask, attention_mask, **options)
        forest = grow(sequences, attention_mask)
        if not self._checked:  # before anything else, so that all ranks make the same calls
            self._check(forest, sequences, action_mask, attention_mask)
        if forest.ratio < LEAST_RATIO:
            self.saved.add(forest.n_tokens, forest.n_tokens)
            return self._stock(sequences, action_mask, attention_mask, **options)
        self.saved.add(forest.n_tokens, len(forest.ids))
        log_probs, entropy, output = self._shared(forest, sequences, action_mask, return_entropy)
        if return_entropy:
            output.entropy = entropy
        return (log_probs, output) if return_output else log_probs

    def _shared(self, forest: Forest, sequences: torch.Tensor, action_mask: torch.Tensor, entropy: bool) -> Any:
        # The attention stays until the next forward: gradient checkpointing computes this one again on its way back.
        self._config._attn_implementation = NAME
        temperature = self._actor.temperature
        return action_log_probs(
            self._actor.model, forest, sequences, action_mask, temperature, entropy, **self._options
        )

    def _stock(self, *args: Any, **options: Any) -> Any:
        self._config._attn_implementation = self._stock_attention
        return self._every_row(*args, **options)

    @torch.no_grad()
    def _check(self, forest: Forest, *batch: torch.Tensor) -> None:
        """Compute a run's first micro-batch both ways; RuntimeError when they differ by more than rounding.

        The first rows alone where all might not fit into the memory.
        """
        training = self._actor.training
        self._actor.eval()
        sequences, action_mask, attention_mask = batch
        most = max(len(forest.ids), CHECKED_TOKENS)
        # At least one row: none has more tokens than are distinct in all.
        n = int((attention_mask.sum(1).cumsum(0) <= most).sum())
        every_row = self._stock(sequences[:n], action_mask[:n], attention_mask[:n])
        shared = self._shared(forest, sequences, action_mask, False).log_probs[:n]
        self._actor.train(training)
        difference = ((shared - every_row) * action_mask[:n]).abs().max().item()
        bound = BOUNDS.get(next(self._actor.parameters()).dtype, HALF_BOUND)
        if not difference <= bound:
            raise RuntimeError(
                f"--marge.share_prefix: a log-prob of the first micro-batch is {difference:.3g} nats from the one of "
                f"computing every row, and at most {bound:g} is rounding; leave --marge.share_prefix out"
            )
        logger.info(
            f"--marge.share_prefix: {forest.n_tokens} tokens of the first micro-batch are {len(forest.ids)} distinct "
            f"ones; no log-prob of {n} rows differs by more than {difference:.2g} nats from computing every row"
        )
        self._checked = True


def share_prefixes(*groups: Any) -> None:
    """Let the policy's and the reference's actors compute common prefixes once, before the first micro-batch."""
    actors = [actor for group in groups if group is not None for actor in group._actor_handlers]
    ray.get([actor.__ray_call__.remote(share_prefixes_of) for actor in actors])


def take_saved(group: Any) -> SavedTokens:
    """What all ranks of the policy computed since the last time."""
    saved = ray.get([actor.__ray_call__.remote(_take) for actor in group._actor_handlers])
    return sum(saved[:: group.duplicate_actors], SavedTokens())


def share_prefixes_of(worker: Any) -> None:
    """Let a worker of the policy or the reference compute common prefixes once; ValueError where its model cannot."""
    trainer = getattr(worker, "trainer", None)  # the policy has one, the reference none
    actor = worker.model if trainer is None else worker.actor
    actor.forward = SharedForward(actor, worker.strategy._unwrap_model(actor))
    if trainer is not None:
        trainer.replay_buffer = TreeReplayBuffer.like(trainer.replay_buffer)


def _take(worker: Any) -> SavedTokens:
    forward = worker.actor.forward
    taken, forward.saved = forward.saved, SavedTokens()
    return taken

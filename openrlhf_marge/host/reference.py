"""``--marge.reference episode``: OpenRLHF's reference actors take the policy's weights at the start of an episode.

The weights go through `<ckpt.path>/_marge/reference_<episode>/`, which a resumed run loads again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import ray


class EpisodeReference:
    """Works on a trainer's actor groups."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._folder = Path(trainer.args.ckpt.path) / "_marge"

    def take(self, episode: int) -> None:
        """Save the policy as the reference of ``episode`` and load it; the one before stays for its checkpoints."""
        final = self._path(episode)
        part = final.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        _on_all(self._trainer.actor_model_group, _save_policy, str(part))
        shutil.rmtree(final, ignore_errors=True)  # of an earlier run, or of steps that a crash undid
        os.replace(part, final)
        self.load(episode)
        for path in self._folder.glob("reference_*"):
            if path not in (final, self._path(episode - 1)):
                shutil.rmtree(path)

    def load(self, episode: int) -> None:
        """ValueError naming the folder when the weights are not there."""
        path = self._path(episode)
        if not path.is_dir():
            raise ValueError(f"{path} is missing, the reference of --marge.reference episode {episode}")
        _on_all(self._trainer.reference_model_group, _load_reference, str(path))

    def _path(self, episode: int) -> Path:
        return self._folder / f"reference_{episode}"


def _on_all(group: Any, function: Any, path: str) -> None:
    ray.get([actor.__ray_call__.remote(function, path) for actor in group._actor_handlers])


def _save_policy(actor: Any, path: str) -> None:
    actor.strategy.save_model(actor.actor, actor.tokenizer, path)


def _load_reference(actor: Any, path: str) -> None:
    """Copy the saved weights into the reference model; where ranks hold parts of it, the first one reads."""
    import deepspeed
    import torch
    from transformers import AutoModelForCausalLM

    target = actor.strategy._unwrap_model(actor.model)
    partitioned = actor.strategy.args.ds.zero_stage == 3
    reads = not partitioned or torch.distributed.get_rank() == 0
    saved = AutoModelForCausalLM.from_pretrained(path, dtype="auto").state_dict() if reads else {}
    with torch.no_grad():
        for name, parameter in target.named_parameters():
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=partitioned):
                if reads:
                    parameter.data.copy_(saved[name])

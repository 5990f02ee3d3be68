"""``--marge.reference episode``: OpenRLHF's reference actors take the policy's weights at the start of an episode.

The weights go through `<ckpt.path>/_marge/reference_<episode>/`, a file per parameter. A resumed run loads them again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
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
    """One file per parameter, written by the first rank as soon as it is whole."""
    from safetensors.torch import save_file

    if actor.strategy.is_rank_0():
        Path(path).mkdir(parents=True)
    for name, parameter in _whole_parameters(actor, actor.actor, changed_by=None):
        if actor.strategy.is_rank_0():
            save_file({name: parameter.data.contiguous()}, _file(path, name))


def _load_reference(actor: Any, path: str) -> None:
    """Copy the saved weights into the reference model; where ranks hold parts of it, the first one reads.

    Every file is let go before the next is read, so that no rank ever holds a second copy of the model.
    """
    from safetensors.torch import load_file

    reads = actor.strategy.args.ds.zero_stage < 3 or actor.strategy.is_rank_0()
    for name, parameter in _whole_parameters(actor, actor.model, changed_by=0):
        if reads:
            parameter.data.copy_(load_file(_file(path, name))[name])


def _whole_parameters(actor: Any, model: Any, changed_by: int | None) -> Iterator[tuple[str, Any]]:
    """Each is whole until the next is asked for: under ZeRO 3 its parts are gathered, and what a rank changed kept."""
    import deepspeed

    partitioned = actor.strategy.args.ds.zero_stage == 3
    for name, parameter in actor.strategy._unwrap_model(model).named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=changed_by, enabled=partitioned):
            yield name, parameter


def _file(folder: str, parameter: str) -> str:
    return os.path.join(folder, f"{parameter}.safetensors")

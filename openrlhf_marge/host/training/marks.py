"""The policy's model in the middle of a run, by the host's own saving of the final one (trainer/ray/ppo_actor.py)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ray


def save_policy(actor_model_group: Any, folder: Path) -> None:
    """Write the policy as it is now to ``folder``, whole or not at all, in place of what is there."""
    part = folder.with_name(folder.name + ".part")
    ray.get([a.__ray_call__.remote(_save_to, str(part)) for a in actor_model_group._actor_handlers])
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _save_to(actor: Any, folder: str) -> None:
    ckpt = actor.strategy.args.ckpt
    final, ckpt.output_dir = ckpt.output_dir, folder
    try:
        actor.save_model()
    finally:
        ckpt.output_dir = final

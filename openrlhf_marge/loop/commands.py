"""The commands of an iteration's stages."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openrlhf_marge.loop.kinds import LoopKind
from openrlhf_marge.pairs.base import DPO, SFT

STAGES = ("explore", "pairs", "train", "evaluate")
# What the loop sets itself, by stage.
OWN_FLAGS: Mapping[str, frozenset[str]] = {
    "explore": frozenset({"--out", "--guidance_from", "--actor.model_name_or_path"}),
    "pairs": frozenset({"--out", "--kind", "--model", "--format", "--max_len"}),
    "train": frozenset(
        {
            *("--model.model_name_or_path", "--ref.model_name_or_path", "--data.dataset", "--data.max_len"),
            *(word for word in (*DPO.data_flags, *SFT.data_flags) if word.startswith("--")),
            "--data.apply_chat_template",
            *("--ckpt.output_dir", "--ckpt.path", "--ckpt.load_enable", "--logger.tensorboard_dir"),
        }
    ),
    "evaluate": frozenset({"--model", "--data", "--out"}),
}


def own_flag(own: frozenset[str], word: str) -> str | None:
    """The one of ``own`` that a word gives, also shortened, as argparse takes it, which is said; None without one."""
    given = word.partition("=")[0]
    flag = next((name for name in sorted(own) if len(given) > len("--") and name.startswith(given)), None)
    return flag if flag in (given, None) else f"{given}, short for {flag}"


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the user gives to each stage, one word an entry."""

    explore: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()


def stage_commands(
    kind: LoopKind, flags: Flags, folder: Path, first: str, model: str, before: Path | None, heldout: str,
    max_len: int, launcher: tuple[str, ...],
) -> dict[str, list[str]]:  # fmt: skip
    """Stage -> command of the iteration in ``folder``.

    ``model`` is the policy that explores, trains and is the reference, unless ``first`` is, the model that the loop
    began with; ``before`` is the folder of the iteration before, whose guidance goes on.
    """
    carried = ["--guidance_from", str(before / "explore")] if before else []
    reference = ["--ref.model_name_or_path", first] if kind.first_is_reference else []
    places = {"--ckpt.output_dir": "model", "--ckpt.path": "checkpoints", "--logger.tensorboard_dir": "tensorboard"}
    return {
        "explore": [
            *(sys.executable, "-m", "openrlhf_marge.cli.explore", "--out", str(folder / "explore")),
            *("--actor.model_name_or_path", model, *carried, *kind.explore_flags, *flags.explore),
        ],
        "pairs": [
            *(sys.executable, "-m", "openrlhf_marge.cli.build_pairs", str(folder / "explore")),
            *("--kind", kind.pairs, "--model", model, "--out", str(folder / "pairs"), "--max_len", str(max_len)),
            *(*kind.pairs_flags, *flags.pairs),
        ],
        "train": [
            *(*launcher, "-m", kind.trainer.module, "--model.model_name_or_path", model, *reference),
            *("--data.dataset", str(folder / "pairs"), *kind.trainer.data_flags, "--data.max_len", str(max_len)),
            *(word for flag, name in places.items() for word in (flag, str(folder / name))),
            # Goes on from a checkpoint of an interrupted training, where --ckpt.save_steps made one.
            *("--ckpt.load_enable", *kind.train_flags, *flags.train),
        ],
        "evaluate": evaluate_command(model=str(folder / "model"), heldout=heldout, out=folder, flags=flags),
    }


def evaluate_command(*, model: str, heldout: str, out: Path, flags: Flags) -> list[str]:
    """The held-out evaluation of a model into ``out``/heldout.json."""
    command = [sys.executable, "-m", "openrlhf_marge.cli.evaluate", "--model", model, "--data", heldout]
    return [*command, "--out", str(out / "heldout.json"), *flags.evaluate]

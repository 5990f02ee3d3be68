"""The flags of the loop's stages, checked before the first of them runs; ValueError for what cannot work."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import sys
from collections.abc import Callable
from types import SimpleNamespace

from openrlhf_marge import patches
from openrlhf_marge.data.files import check_local_files
from openrlhf_marge.evaluation import flags as evaluate_flags
from openrlhf_marge.evaluation.problems import load_problems
from openrlhf_marge.loop import OWN_FLAGS, LoopKind, own_flag
from openrlhf_marge.method.arguments import from_namespace
from openrlhf_marge.pairs import BUILDERS
from openrlhf_marge.pairs.flags import check_args
from openrlhf_marge.runs.processes import run_captured


def check_heldout(heldout: str, words: tuple[str, ...]) -> None:
    """ValueError when it cannot be read, or the flags give no sampled pass@1, by which iterations are compared."""
    command = ["--model", "x", "--data", heldout, "--out", "x", *words]
    flags = checked("--evaluate", lambda given: evaluate_flags.parse_args(given, ""), command)
    if not flags.n:
        raise ValueError("--evaluate holds --n 0, but iterations are compared by sampled pass@1; leave it out")
    try:
        load_problems(heldout, flags.input_key, flags.label_key)
    except ValueError as e:
        raise ValueError(f"--heldout cannot be evaluated: {e}") from e


def check_explore(args: argparse.Namespace) -> None:
    """ValueError for what cli.explore would refuse; ``args`` as it parses them."""
    marge = {name.removeprefix("marge."): value for name, value in vars(args).items() if name.startswith("marge.")}
    try:
        sampled = ("rollout.n_samples_per_prompt", "data.max_len", "rollout.max_new_tokens")
        from_namespace(SimpleNamespace(**marge)).check_completions(*(getattr(args, name) for name in sampled))
        check_local_files("--data.prompt_dataset", getattr(args, "data.prompt_dataset"))
    except ValueError as e:
        raise ValueError(f"--explore does not work: {e}") from e


def check_pairs(args: argparse.Namespace) -> None:
    """ValueError for what cli.build_pairs would refuse; ``args`` as it parses them."""
    try:
        check_args(args, BUILDERS.load(args.kind))
    except ValueError as e:
        raise ValueError(f"--pairs does not work: {e}") from e


def words_of(stage: str, text: str) -> tuple[str, ...]:
    """The words of a stage's quoted flags, none of which the loop sets itself."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as e:
        raise ValueError(f"--{stage} cannot be split into words: {e}") from e
    for word in words:
        if flag := own_flag(OWN_FLAGS[stage], word):
            raise ValueError(f"--{stage} holds {flag}, which the loop sets itself; leave it out")
    return words


def checked(name: str, parse: Callable[[list[str]], argparse.Namespace], words: list[str]) -> argparse.Namespace:
    """What a command of the package makes of its flags; ValueError with argparse's reason when it refuses them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse(words)
    except SystemExit as e:
        reason = (said.getvalue().strip().splitlines() or ["it asks for --help"])[-1]
        raise ValueError(f"{name} does not work: {reason}") from e


def check_patched(kind: LoopKind) -> None:
    """ValueError where OpenRLHF would not read all columns of the rows, as it lacks a patch."""
    if kind.trainer.needs_patches:
        patches.require(f"--kind {kind.pairs}")


def check_train_flags(kind: LoopKind, words: list[str]) -> None:
    """Let OpenRLHF's own parser read the flags; exploring would be in vain if it refused them afterwards."""
    command = [sys.executable, "-m", kind.trainer.module, *words, "--help"]
    done = run_captured(command)
    if done.returncode:
        raise ValueError(f"--train does not work: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    known = set(re.findall(r"--[\w.]+", done.stdout))
    for word in (w.split("=")[0] for w in words if w.startswith("--")):
        if word not in known:
            raise ValueError(f"--train holds {word}, which {kind.trainer.module} does not know")

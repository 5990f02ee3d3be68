"""What is asserted of the runs of actors.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file

from actor_rows import Material
from actor_runs import Ended

ByName = Mapping[str, Ended]
LOGGED = ("policy_loss", "actor_grad_norm", "kl", "rollout/reward_mean")


def all_finite(run: Ended) -> bool:
    """Whether no number that it logged is NaN or infinite, and some were logged."""
    return bool(run.series) and all(math.isfinite(v) for series in run.series.values() for _, v in series)


def alike(runs: ByName, name: str, other: str, bound: float) -> dict[str, bool]:
    """The first iteration's gradient, whose weights are the same, as a share of the other's."""
    if not {name, other} <= runs.keys():
        return {}
    one, two = (runs[n].values("actor_grad_norm")[0] for n in (name, other))
    share = abs(one - two) / max(abs(two), 1e-12)
    sentence = f"{name}: the norm of the first gradient is {share:.2g} of that of {other} away from it"
    return {f"{sentence} (at most {bound})": share <= bound}


def near(runs: ByName, name: str, other: str, material: Material, bound: float = 0.3) -> dict[str, bool]:
    """How far the trained weights are from the other's, as a share of how far those moved in all."""
    if not {name, other} <= runs.keys():
        return {}
    start, one, two = _weights(material.folder), _weights(runs[name].out), _weights(runs[other].out)
    difference = math.sqrt(sum((one[n].double() - two[n].double()).square().sum().item() for n in start))
    moved = math.sqrt(sum((two[n].double() - start[n].double()).square().sum().item() for n in start))
    sentence = f"{name}: weights are {difference / max(moved, 1e-12):.2g} of what {other} moved away from its own"
    return {f"{sentence} (at most {bound}; both are rounded to bfloat16)": moved > 0 and difference <= bound * moved}


def trained(runs: ByName, name: str) -> dict[str, bool]:
    """That every iteration had a gradient."""
    norms = runs[name].values("actor_grad_norm") if name in runs else []
    return {f"{name}: norms of the gradients {norms}": bool(norms) and min(norms) > 0}


def as_long(runs: ByName, name: str, other: str) -> dict[str, bool]:
    """That both had as many iterations."""
    counts = [len(runs[n].values("policy_loss")) if n in runs else 0 for n in (name, other)]
    return {f"{name}: {counts[0]} iterations in all, {counts[1]} of {other}": counts[0] == counts[1] > 0}


def equal_values(runs: ByName, name: str, other: str) -> dict[str, bool]:
    """That both logged the same numbers, to the last bit."""
    if not {name, other} <= runs.keys():
        return {}
    values = {tag: (runs[name].values(tag), runs[other].values(tag)) for tag in LOGGED}
    return {f"{name}: {tag} {one}, {other}: {two}": one == two for tag, (one, two) in values.items()}


def _weights(folder: Path) -> dict:
    return load_file(folder / "model" / "model.safetensors")


def equal_calls(one: list[list[str]], other: list[list[str]]) -> dict[str, bool]:
    """Stock's and the patched actors' calls: as many actors, the same calls in the same order."""
    held = {f"as many traced processes, with and without patches: {len(one)} and {len(other)}": len(one) == len(other)}
    for k, (a, b) in enumerate(zip(one, other, strict=False)):
        differ = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        at = f"; call {differ}: {a[differ : differ + 1]} without, {b[differ : differ + 1]} with patches"
        held[f"process {k}: {len(a)} calls without patches, {len(b)} with{at if a != b else ''}"] = a == b
    return held | {"calls were traced": any(one)}

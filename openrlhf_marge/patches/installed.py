"""Finds the host without importing it: `Host -> locate -> Installed`, with the checksums its wheel came with."""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from .errors import PatchError


@dataclass(frozen=True, slots=True)
class Host:
    """The distribution that the series is for; its package has the same name."""

    name: str = "openrlhf"
    versions: frozenset[str] = frozenset({"0.11.2"})
    """Versions whose files the series fits, exactly."""

    @property
    def install(self) -> str:
        """The requirement to name in a mend."""
        return f"{self.name}=={max(self.versions)}"

    @property
    def reinstall(self) -> str:
        """The command that brings back the files of the wheel and leaves its dependencies alone."""
        return f"pip install --force-reinstall --no-deps {self.install}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """Where the host's files are."""

    host: Host
    version: str
    root: Path
    """Folder of the installed package's folder: site-packages."""
    imported_root: Path
    """As root, of the package that `import` takes: another one when a copy on PYTHONPATH comes first."""
    checksums: Mapping[str, str]
    """RECORD of the wheel: path from root -> sha256=..."""

    @property
    def package(self) -> Path:
        """The installed package's folder."""
        return self.root / self.host.name

    @property
    def shadow(self) -> Path | None:
        """The package's folder that is imported instead of the installed one, if any."""
        return None if self.imported_root.samefile(self.root) else self.imported_root / self.host.name


OPENRLHF = Host()


def locate(host: Host = OPENRLHF) -> Installed:
    """The installed host, or a PatchError that says how to install the right one."""
    try:
        distribution = metadata.distribution(host.name)
    except metadata.PackageNotFoundError as error:
        here = f"{host.name} is not installed for {sys.executable}"
        raise PatchError(f"{here}; install it with: pip install {host.install}") from error
    version = distribution.version
    if version not in host.versions:
        fitting = ", ".join(sorted(host.versions))
        mend = f"the patches fit only {fitting}; install it with: pip install {host.install}"
        raise PatchError(f"{host.name} {version} is installed but {mend}")
    record = distribution.read_text("RECORD")
    if record is None:
        raise PatchError(f"{host.name} is not installed from a wheel (it has no RECORD); run: {host.reinstall}")
    checksums = {row[0]: row[1] for row in csv.reader(record.splitlines()) if row}
    root = Path(str(distribution.locate_file(""))).resolve()
    imported = _imported_root(host) or root
    return Installed(host=host, version=version, root=root, imported_root=imported, checksums=checksums)


def checksum(content: bytes) -> str:
    """As RECORD writes it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.decode("ascii").rstrip("=")


def _imported_root(host: Host) -> Path | None:
    """Follows sys.path and PYTHONPATH as `import` would, and runs nothing."""
    spec = util.find_spec(host.name)
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None
    return Path(spec.origin).resolve().parents[1]

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

COMMAND = "python -m openrlhf_marge.patches"
PLUGIN = Path(__file__).resolve().parents[1]
SHIPPED = PLUGIN / "_patches"


class PatchError(Exception):
    """An expected refusal: what is wrong, in one sentence that names the file or flag and the mend."""


@dataclass(frozen=True, slots=True)
class Host:
    """The distribution that the series is for; its package has the same name."""

    name: str = "openrlhf"
    version: str = "0.11.2"
    patches: Path = SHIPPED if SHIPPED.is_dir() else PLUGIN.parent / "patches"
    """Folder of the series: in the wheel, else that of the checkout."""

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}=={self.version}"

    @property
    def reinstall(self) -> str:
        """The command that brings back the files of the wheel and leaves its dependencies alone."""
        return f"pip install --force-reinstall --no-deps {self.requirement}"


@dataclass(frozen=True, slots=True)
class Installed:
    """Where the host's files are, by the folders that hold its package: site-packages, or that of a copy."""

    host: Host
    root: Path
    imported_root: Path
    """Of the package that `import` takes: another one when a copy on PYTHONPATH comes first."""
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
    install = f"install it with: pip install {host.requirement}"
    try:
        distribution = metadata.distribution(host.name)
    except metadata.PackageNotFoundError as error:
        raise PatchError(f"{host.name} is not installed for {sys.executable}; {install}") from error
    if distribution.version != host.version:
        found = f"{host.name} {distribution.version} is installed"
        raise PatchError(f"{found} but the patches fit only {host.version}; {install}")
    record = distribution.read_text("RECORD")
    if record is None:
        raise PatchError(f"{host.name} is not installed from a wheel (it has no RECORD); run: {host.reinstall}")
    checksums = {row[0]: row[1] for row in csv.reader(record.splitlines()) if row}
    root = Path(str(distribution.locate_file(""))).resolve()
    spec = util.find_spec(host.name)  # follows sys.path and PYTHONPATH as `import` would, and runs nothing
    imported = Path(spec.origin).resolve().parents[1] if spec and spec.origin else root
    return Installed(host, root, imported, checksums)


def checksum(content: bytes | None) -> str | None:
    """As RECORD writes it; None when there is no such file."""
    if content is None:
        return None
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode("ascii").rstrip("=")

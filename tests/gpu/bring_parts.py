"""Puts together and installs the parts that engine_parts.py made, which come one by one to a machine without network.

    python3 tests/gpu/bring_parts.py FOLDER DIR [DIR ...]

Each DIR is one part. FOLDER keeps the parts that came, so that a later call brings the others; as soon as all are
there, they are installed into FOLDER/site. Exit code 0: installed; 2: a part is still missing; 1: a part is damaged,
or the machine lacks a package that no part holds. Only Python's own library is used, for nothing is installed yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

MANIFEST, SLICE = "manifest.json", "slice"
BLOCK = 2**20


class Unusable(Exception):
    """What stands in the way other than a part that is yet to come: one sentence with the mend."""


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def bring(folder: Path, parts: Sequence[Path]) -> str | None:
    """Keep ``parts`` in ``folder``, and install all as soon as they are there; else a sentence on what is missing."""
    manifest = common_manifest(parts)
    lacking = [name for name in manifest["expected"] if importlib.util.find_spec(name) is None]
    if lacking:
        raise Unusable(f"this machine lacks {', '.join(lacking)}, which no part holds: add their wheels to the parts")
    kept, installed, slices = folder / "kept", folder / "installed", manifest["slices"]
    kept.mkdir(parents=True, exist_ok=True)
    for part in parts:
        keep(part, slices, kept)
    missing = [str(i) for i, digest in enumerate(slices, 1) if not (kept / digest).exists()]
    if missing:
        they = f"part {' and part '.join(missing)} of {len(slices)}"
        return f"{they} not here yet: name its folder in a call on this same machine"
    if not installed.exists() or installed.read_text().split() != slices:
        install([kept / digest for digest in slices], folder)
        installed.write_text("\n".join(slices))
    return None


def common_manifest(parts: Sequence[Path]) -> dict[str, list[str]]:
    """The manifest, which is the same in all ``parts`` of one make."""
    found = []
    for part in parts:
        try:
            found.append(json.loads((part / MANIFEST).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise Unusable(f"{part} has no {MANIFEST}: name a folder that engine_parts.py made") from None
        if found[-1] != found[0]:
            raise Unusable(f"{part} and {parts[0]} are of different makes: bring parts that were made together")
    return found[0]


def keep(part: Path, digests: Sequence[str], kept: Path) -> None:
    """Copy the slice of ``part``, if it is one of those in the manifest."""
    slice_ = part / SLICE
    digest = sha256(slice_) if slice_.exists() else "no file"
    if digest not in digests:
        raise Unusable(f"{slice_} is not what its manifest says ({digest}): copy {part} again")
    partial = kept / f"{digest}.partial"
    shutil.copyfile(slice_, partial)
    partial.replace(kept / digest)


def install(slices: Sequence[Path], folder: Path) -> None:
    """Put ``slices`` together and install the wheels into ``folder``/site, in place of what is there."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive, site = Path(scratch, "archive"), Path(scratch, "site")
        with archive.open("wb") as whole:
            for path in slices:
                with path.open("rb") as file:
                    shutil.copyfileobj(file, whole, BLOCK)
        with tarfile.open(archive) as tar:
            wheels = [expand(tar, member, Path(scratch)) for member in tar]
        options = ("--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target")
        subprocess.run([sys.executable, "-m", "pip", "install", *options, site, *wheels], check=True)
        shutil.rmtree(folder / "site", ignore_errors=True)
        site.replace(folder / "site")


def expand(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> Path:
    """The wheel of ``member``, which is NAME.whl.xz."""
    wheel = folder / Path(member.name).stem
    file = tar.extractfile(member)
    assert file is not None, "pack writes plain files"
    with lzma.open(file) as xz, wheel.open("wb") as out:
        shutil.copyfileobj(xz, out, BLOCK)
    return wheel


def main() -> int:
    if len(sys.argv) < 3:
        print(__doc__)
        return 1
    try:
        missing = bring(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
    except Unusable as error:
        print(error)
        return 1
    print(missing or f"installed into {sys.argv[1]}/site")
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

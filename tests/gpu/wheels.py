"""Wheels for a GPU machine without network that has torch and transformers, but not what runs OpenRLHF's actors.

    python tests/gpu/wheels.py DIR

Run it where there is a package registry, with the Python version of the GPU machine. DIR then holds about 45 MiB:
this package, OpenRLHF, DeepSpeed as source that compiles there, Ray without its Java archive and its dashboard's
pages, and what these need beside torch, transformers, accelerate, peft, aiohttp, tensorboard, pandas and pyarrow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from pathlib import Path

READY = (
    *("ray==2.55.0", "openrlhf==0.11.2", "datasets", "dill", "multiprocess", "optree", "pylatexenc", "loralib"),
    *("torchdata==0.11.0", "jsonlines", "isort", "hjson", "pynvml", "msgspec", "latex2sympy2==1.9.1", "unidiff"),
    *("jsonschema", "jsonschema-specifications", "referencing", "rpds-py", "annotated-types", "typing-inspection"),
    *("tzdata", "pydantic==2.14.4", "pydantic-core==2.50.5"),  # of these two each takes only one version of the other
)
FROM_SOURCE = ("deepspeed==0.19.6", "antlr4-python3-runtime==4.7.2", Path(__file__).parents[2])
NOT_NEEDED = ("ray/jars/", "ray/dashboard/client/", "ray/rllib/", "ray/serve/", "ray/llm/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="gets the wheels")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    collect(folder)
    for wheel in sorted(folder.glob("*.whl"), key=lambda w: -w.stat().st_size):
        print(f"{wheel.stat().st_size / 2**20:7.2f} MiB  {wheel.name}")
    print(f"{sum(w.stat().st_size for w in folder.glob('*.whl')) / 2**20:7.2f} MiB")


def collect(folder: Path) -> None:
    """Put the wheels into ``folder``."""
    pip("download", "--no-deps", "--only-binary=:all:", "--dest", folder, *READY)
    # No operators: the GPU machine compiles the one that is used.
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, *FROM_SOURCE)
    (ray,) = folder.glob("ray-*.whl")
    slim(ray, NOT_NEEDED)


def pip(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", *map(str, arguments)], check=True, env=os.environ | {"DS_BUILD_OPS": "0"}
    )


def slim(wheel: Path, not_needed: tuple[str, ...]) -> None:
    """Write ``wheel`` again without the files whose names begin like one of ``not_needed``.

    pip installs it, though its RECORD names more. RuntimeError for a name that no file has.
    """
    smaller = wheel.with_suffix(".smaller")
    with zipfile.ZipFile(wheel) as full, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for start in not_needed:
            if not any(name.startswith(start) for name in full.namelist()):
                raise RuntimeError(f"{wheel.name} has no {start}: correct the list of what is not needed of it")
        for item in full.infolist():
            if not item.filename.startswith(not_needed):
                out.writestr(item, full.read(item), compresslevel=9)
    smaller.replace(wheel)


if __name__ == "__main__":
    main()

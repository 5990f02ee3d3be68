"""Parts with vLLM and the rest of the stack for a GPU machine without network, to which only so much goes at a time.

    python tests/gpu/engine_parts.py DIR

Run it where there is a package registry, with the Python version of the GPU machine. DIR, a new or empty folder, gets
the folders 1, 2, ..., each of at most 60 MiB, for stack.sh; the wheels of wheels.py are in them. A Hopper card is
meant: vLLM 0.26, the last for PyTorch 2.11, comes with FlashAttention 3 alone and without what only mixtures of
experts, quantized weights, other cards and servers use.
"""

from __future__ import annotations

import argparse
import json
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import wheels
from bring_parts import MANIFEST, SLICE, sha256

LIMIT = 60 * 2**20  # of the 64 MiB that go at a time, a clone of this repository takes the rest
VLLM = "vllm==0.26.0"
# What vLLM imports at its start, beside what wheels.py brings and what the machine has (EXPECTED). OpenAI's package
# needs another HTTP client from its third version on; vLLM pins a tvm-ffi that its xgrammar no longer takes.
NEEDS = (
    *("cachetools", "cbor2", "pybase64", "pyzmq", "partial-json-parser", "openai-harmony", "openai>=2,<3", "distro"),
    *("jiter", "sniffio", "fastapi>=0.133,<0.137", "starlette>=1.0.1", "llguidance>=1.7,<1.8", "xgrammar>=0.2.1,<1"),
    "apache-tvm-ffi>=0.1.11",
)
# Modules that the machine must have, beside PyTorch and transformers; stack.sh looks for them before it installs.
EXPECTED = (
    *("torch", "torchvision", "triton", "transformers", "accelerate", "peft", "tensorboard", "pandas", "pyarrow"),
    *("aiohttp", "annotated_doc", "anyio", "attr", "click", "cloudpickle", "cpuinfo", "einops", "filelock", "httpx"),
    *("huggingface_hub", "jinja2", "msgpack", "ninja", "numpy", "packaging", "PIL", "prometheus_client", "psutil"),
    *("regex", "requests", "safetensors", "scipy", "sentencepiece", "tiktoken", "tokenizers", "tqdm", "uvloop"),
    *("xxhash", "yaml"),
)
NOT_NEEDED = (
    "vllm/vllm_flash_attn/_vllm_fa2_C",  # FlashAttention 2: Hopper cards use 3
    "vllm/vllm_flash_attn/cute/",  # FlashAttention 4
    "vllm/_moe_C_stable_libtorch",  # mixtures of experts
    "vllm/_qutlass_C",  # quantized weights
    *("vllm/_flashmla_C", "vllm/_flashmla_extension_C", "vllm/third_party/flashmla/"),  # DeepSeek's attention
    *("vllm/third_party/deep_gemm/", "vllm/third_party/fmha_sm100/", "vllm/third_party/tml_fa4/"),  # FP8, Blackwell
    *("vllm/vllm-rs", "vllm/_rust_tool_parser"),  # a server
    *("vllm/entrypoints/serve/instrumentator/static/", "vllm/distributed/kv_transfer/disagg_prefill_workflow.jpg"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="gets the parts")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty: name a new folder")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pack(collect(Path(scratch)), folder, LIMIT, EXPECTED)


def collect(folder: Path) -> list[Path]:
    """All wheels, without what is not needed."""
    wheels.collect(folder)
    wheels.pip("download", "--no-deps", "--only-binary=:all:", "--dest", folder, VLLM, *NEEDS)
    (vllm,) = folder.glob("vllm-*.whl")
    wheels.slim(vllm, NOT_NEEDED)
    return sorted(folder.glob("*.whl"))


def pack(found: Sequence[Path], folder: Path, limit: int, expected: Sequence[str]) -> None:
    """Write wheels to the folders 1, 2, ... of ``folder``: each gets the manifest and at most ``limit`` bytes.

    ``expected`` are modules that the other machine must have. The size of each is printed as soon as it is known.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive, smaller = Path(scratch, "archive"), [Path(scratch, f"{wheel.name}.xz") for wheel in found]
        with ProcessPoolExecutor(max_workers=2) as pool, tarfile.open(archive, "w") as tar:  # each takes 0.7 GiB
            for path, _ in zip(smaller, pool.map(compress, found, smaller), strict=True):
                tar.add(path, path.name)
                print_size(path, path.stem)
        slices = cut(archive, folder, limit)
    manifest = {"slices": [sha256(path) for path in slices], "expected": list(expected)}
    for path in slices:
        path.with_name(MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        print_size(path, f"part {path.parent.name}")


def print_size(path: Path, name: str) -> None:
    print(f"{path.stat().st_size / 2**20:7.2f} MiB  {name}", flush=True)


def compress(wheel: Path, to: Path) -> None:
    """As an .xz of stored files: a wheel compresses each file by itself, and far less."""
    with zipfile.ZipFile(wheel) as full, lzma.open(to, "wb", preset=9) as xz, zipfile.ZipFile(xz, "w") as out:
        for item in full.infolist():
            out.writestr(item, full.read(item), compress_type=zipfile.ZIP_STORED)


def cut(archive: Path, folder: Path, limit: int) -> list[Path]:
    """The slices of ``archive``, at most ``limit`` bytes long and in order."""
    slices = []
    with archive.open("rb") as file:
        while data := file.read(limit):
            slices.append(folder / str(len(slices) + 1) / SLICE)
            slices[-1].parent.mkdir()
            slices[-1].write_bytes(data)
    return slices


if __name__ == "__main__":
    main()

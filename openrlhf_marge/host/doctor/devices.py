"""GPUs as torch, vLLM and Ray see them: a run needs all three to see the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator

from openrlhf_marge.host.doctor.findings import Finding, fault, ok, warning
from openrlhf_marge.host.standalone.local_ray import init_ray


def devices() -> Iterator[Finding]:
    """What each sees; without a GPU only that the environment says so."""
    n_torch = yield from _torch()
    if n_torch is None:
        return
    yield _vllm(n_torch)
    yield _ray(n_torch)


def _torch() -> Generator[Finding, None, int | None]:
    """Yields one finding and returns the number of GPUs, None where the others need not be asked."""
    try:
        import torch
    except (ImportError, OSError) as e:
        yield fault(f"torch cannot be imported ({e})", "install torch again")
        return None
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        yield ok("DS_ACCELERATOR=cpu: nothing runs on a GPU")
        return None
    n = torch.cuda.device_count()
    if not n:
        mend = "look at nvidia-smi and CUDA_VISIBLE_DEVICES; to run on a CPU set DS_ACCELERATOR=cpu"
        yield fault(f"torch {torch.__version__} sees no GPU", mend)
        return None
    cards = [torch.cuda.get_device_properties(i) for i in range(n)]
    yield ok("torch sees " + ", ".join(f"{c.name} ({c.total_memory / 2**30:.0f} GiB)" for c in cards))
    return n


def _vllm(n_torch: int) -> Finding:
    try:
        from vllm.platforms import current_platform
    except (ImportError, OSError) as e:
        return fault(f"vLLM cannot be imported ({e})", "install the vLLM that was built for this torch")
    name = current_platform.device_type
    if name != "cuda":
        return fault(f"vLLM is built for {name!r}, torch sees {n_torch} GPUs", "install vLLM's build for GPUs")
    return ok("vLLM is built for these GPUs")


def _ray(n_torch: int) -> Finding:
    """Starts a cluster of this machine for a moment, or asks the one that RAY_ADDRESS names."""
    import ray

    address = os.environ.get("RAY_ADDRESS")
    options = {} if address else {"address": "local", "include_dashboard": False}
    try:
        init_ray(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as e:
        return fault(f"Ray does not start: {e}", "look at ray status, and at RAY_ADDRESS if it is set")
    try:
        n = int(ray.cluster_resources().get("GPU", 0))
    finally:
        ray.shutdown()
    where = f"the Ray cluster {address}" if address else "Ray"
    if n < n_torch:
        mend = "start Ray with --num-gpus, or unset CUDA_VISIBLE_DEVICES where it starts"
        return warning(f"{where} has {n} GPUs, torch sees {n_torch} on this machine alone", mend)
    return ok(f"{where} has {n} GPUs")

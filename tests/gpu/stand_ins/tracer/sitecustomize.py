"""Writes down each call of torch.cuda and torch.distributed that OpenRLHF's actors make: MARGE_TRACE is the folder.

Python runs this file at its start when its folder is on PYTHONPATH. Functions that only ask, such as
torch.cuda.is_available, are left out: how often they are called changes nothing on the GPU. The process that shuffles
the data is seeded, which OpenRLHF does not do, so that two runs can be compared.
"""

import functools
import importlib.abc
import os
import sys

CUDA = (
    *("empty_cache", "synchronize", "set_device", "manual_seed", "manual_seed_all", "ipc_collect"),
    "reset_peak_memory_stats",
)
COLLECTIVES = (
    *("all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all_single", "barrier"),
    *("broadcast", "broadcast_object_list", "gather", "init_process_group", "new_group", "recv", "reduce"),
    *("reduce_scatter", "reduce_scatter_tensor", "send"),
)


class Tracer(importlib.abc.MetaPathFinder):
    """Begins to write when an actor's module is looked for; torch is loaded by then."""

    def find_spec(self, name, path=None, target=None):
        if name == "openrlhf.trainer.ray.launcher" and "torch" in sys.modules:
            sys.meta_path.remove(self)
            trace(os.path.join(os.environ["MARGE_TRACE"], f"{os.getpid()}.txt"))


def trace(path):
    import torch

    torch.manual_seed(0)
    file = open(path, "w", buffering=1)  # noqa: SIM115  it stays open as long as the process lives
    for module, names in ((torch.cuda, CUDA), (torch.distributed, COLLECTIVES)):
        for name in names:
            if function := getattr(module, name, None):
                setattr(module, name, written(file, f"{module.__name__}.{name}", function))


def written(file, name, function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        tensors = (a for a in (*args, *kwargs.values()) if hasattr(a, "element_size"))
        shapes = " ".join(f"{tuple(t.shape)} {t.dtype} {t.device.type}" for t in tensors)
        file.write(f"{name} {shapes}".rstrip() + "\n")
        return function(*args, **kwargs)

    return call


if os.environ.get("MARGE_TRACE"):
    sys.meta_path.insert(0, Tracer())

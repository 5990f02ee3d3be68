"""OpenRLHF's vLLM engines without a training run around them, on the Ray cluster that is there or one of our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from openrlhf.trainer.ray.vllm_engine import create_vllm_engines

from openrlhf_marge.host.standalone.local_ray import init_ray, local_ray, needs_local_ray

STOP_SECONDS = 30


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Join the cluster of ``RAY_ADDRESS``, or of this machine; start one where there is none."""
    if needs_local_ray():
        with local_ray():
            yield
        return
    init_ray(
        log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": {"TOKENIZERS_PARALLELISM": "true"}}
    )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def offline_engines(args: Any, logprobs_mode: str) -> Iterator[list[Any]]:
    """The engines that the flags ask for; they end with the context. ValueError when the cluster is too small.

    ``logprobs_mode`` is vLLM's.
    """
    vllm, needed = args.vllm, args.vllm.num_engines * args.vllm.tensor_parallel_size
    there = int(ray.cluster_resources().get("GPU", 0))
    if there < needed:
        raise ValueError(
            f"--vllm.num_engines {vllm.num_engines} x --vllm.tensor_parallel_size {vllm.tensor_parallel_size} need "
            f"{needed} GPUs, and the Ray cluster has {there}; ask for fewer, or start a larger cluster"
        )
    engines = create_vllm_engines(
        vllm.num_engines,
        vllm.tensor_parallel_size,
        args.actor.model_name_or_path,
        args.train.seed,
        args.train.full_determinism_enable,
        enable_prefix_caching=True,  # nested states share prefixes
        enforce_eager=vllm.enforce_eager,
        max_model_len=args.data.max_len,
        gpu_memory_utilization=vllm.gpu_memory_utilization,
        param_dtype=args.ds.param_dtype,
        logprobs_mode=logprobs_mode,
    )
    try:
        _await_start(engines, args.actor.model_name_or_path)
        yield engines
    finally:
        _stop(engines)


def _await_start(engines: list[Any], model: str) -> None:
    """Return when all engines answer; RuntimeError naming the one that failed."""
    print(f"explore: starting {len(engines)} vLLM engines", flush=True)
    for number, answer in enumerate([engine.get_num_unfinished_requests.remote() for engine in engines]):
        try:
            ray.get(answer)
        except ray.exceptions.RayError as e:
            reason = (str(e).strip().splitlines() or [type(e).__name__])[-1]
            raise RuntimeError(
                f"vLLM engine {number} did not start with the model {model}: {reason} (what the engine printed is in "
                f"the newest worker-*.out of {_logs()}, on the node of the engine)"
            ) from e


def _logs() -> str:
    """Ray's folder of logs; it has the same path on every node of a cluster."""
    return f"{init_ray(ignore_reinit_error=True).address_info['session_dir']}/logs"


def _stop(engines: list[Any]) -> None:
    """End the actors in good order: a killed one leaves vLLM's engine process behind, with its memory."""
    ended = [engine.__ray_terminate__.remote() for engine in engines]
    ray.wait(ended, num_returns=len(ended), timeout=STOP_SECONDS)
    for engine in engines:
        ray.kill(engine)

"""Launches, shapes and visits for tests of plans, without OpenRLHF's parser."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from openrlhf_marge import MargeConfig
from openrlhf_marge.planning.batches import Passes
from openrlhf_marge.planning.machines import GIB, Fixed, Machine, Reached
from openrlhf_marge.planning.shape import ModelShape, shape_of
from openrlhf_marge.planning.visits import SampledState, SampledVisit

DEFAULTS = {
    "actor": dict(num_nodes=1, num_gpus_per_node=8, gradient_checkpointing_enable=False, entropy_coef=None,
                  gradient_checkpointing_reentrant=False, aux_loss_coef=0, model_name_or_path="m",
                  lr_scheduler="cosine_with_min_lr"),
    "ref": dict(num_nodes=1, num_gpus_per_node=8, offload=False),
    "critic": dict(num_nodes=1, num_gpus_per_node=8, model_name_or_path=None),
    "reward": dict(remote_url=["r.py"]),
    "vllm": dict(num_engines=8, tensor_parallel_size=1, enable_sleep=False, enforce_eager=False,
                 gpu_memory_utilization=0.6, enable_prefix_caching=True, sync_backend="nccl"),
    "ds": dict(zero_stage=2, param_dtype="bf16", adam_offload=False, enable_sleep=False, packing_samples=False,
               ring_attn_size=1, tensor_parallel_size=1, overlap_comm=False, use_liger_kernel=False,
               attn_implementation="flash_attention_2", lora=SimpleNamespace(rank=0)),
    "train": dict(colocate_all=False, colocate_actor_ref=False, async_enable=False, dynamic_batch_enable=False,
                  max_tokens_per_gpu=16384, batch_size=8, micro_batch_size=2, max_epochs=1, num_episodes=2,
                  full_determinism_enable=False),
    "rollout": dict(batch_size=4, n_samples_per_prompt=2, micro_batch_size=2, max_tokens_per_gpu=16384,
                    max_new_tokens=None, temperature=1.0, top_p=1.0),
    "data": dict(max_len=2048, apply_chat_template=False, input_template=None),
    "ckpt": dict(save_steps=-1, max_num=3, disable_ds=False, save_hf=False),
    "algo": dict(kl=SimpleNamespace(init_coef=0.01), advantage=SimpleNamespace(estimator="group_norm"),
                 dynamic_filtering_enable=False),
}  # fmt: skip


def launch(config: MargeConfig | None = None, **changed: Any) -> SimpleNamespace:
    """A launch of 8 GPUs for each process; ``train__batch_size=16`` sets ``args.train.batch_size``."""
    args = SimpleNamespace(**{group: SimpleNamespace(**values) for group, values in DEFAULTS.items()})
    for path, value in changed.items():
        group, _, name = path.partition("__")
        assert hasattr(getattr(args, group), name), path
        setattr(getattr(args, group), name, value)
    if config is not None:
        args.marge = config
    return args


# model_type, hidden, layers, heads, key-value heads, inner, vocabulary, tied, head_dim -> known parameters
CONFIGS = {
    "Qwen2.5-0.5B": (("qwen2", 896, 24, 14, 2, 4864, 151936, True, None), 494_032_768),
    "Qwen2-7B": (("qwen2", 3584, 28, 28, 4, 18944, 152064, False, None), 7_615_616_512),
    "Llama-3.1-8B": (("llama", 4096, 32, 32, 8, 14336, 128256, False, None), 8_030_261_248),
    "Mistral-7B-v0.1": (("mistral", 4096, 32, 32, 8, 14336, 32000, False, None), 7_241_732_096),
    "Qwen3-0.6B": (("qwen3", 1024, 28, 16, 8, 3072, 151936, True, 128), 596_049_920),
}
KEYS = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "intermediate_size", "vocab_size", "tie_word_embeddings", "head_dim",
)  # fmt: skip


def config_of(name: str) -> dict:
    return {key: value for key, value in zip(KEYS, CONFIGS[name][0], strict=True) if value is not None}


def shape(name: str = "Qwen2.5-0.5B") -> ModelShape:
    return shape_of(config_of(name), name)


def state(prompt, prefix, lengths, start=1000, trained=True) -> SampledState:
    """Completions of these lengths of a context; no two share a token."""
    ends = np.cumsum([start, *lengths])
    ids = tuple(np.arange(a, b) for a, b in pairwise(ends))
    context = np.arange(1, prompt + prefix + 1)
    return SampledState(context=context, prefix=prefix, completions=ids, trained=ids if trained else ())


def visit(*states, untrained=()) -> SampledVisit:
    return SampledVisit(problem="p", states=states, untrained=tuple(untrained))


PASSES = Passes(per_rank=1, tokens=10, distinct=10, computed=10, logits=10, pairs=55)
N = 494_032_768  # parameters of shape()
# A machine without fixed costs.
BARE = Machine(
    name="bare", memory=80 * GIB, flops=1e12, bandwidth=1e12, link=1e12, network=1e11, host_link=1e10,
    reached=Reached(log_probs=0.5, training=0.25, engine=0.5, bandwidth=0.5),
    fixed=Fixed(**dict.fromkeys(Fixed.__dataclass_fields__, 0.0)),
)  # fmt: skip

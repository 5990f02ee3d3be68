"""Parsed launches for tests of plans, without OpenRLHF's parser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from openrlhf_marge import MargeConfig

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
                    max_new_tokens=None),
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

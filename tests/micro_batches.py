"""One optimizer step of OpenRLHF's own actor trainer under DeepSpeed, in one process, without Ray and engines.

`python micro_batches.py MODEL` prints, as JSON, the gradient of one batch by (loss aggregation, way of the
micro-batches): of 8, 4 and 2 rows, of 8 and 4 rows with shared prefixes, of 40 tokens, and of 40 distinct tokens; the
last two under ZeRO 2 and 3, too. Then the gradients of a critic: of 8 rows, and of 40 tokens without ZeRO and under 2
and 3.
"""

import json
import os
import socket
import sys
from types import SimpleNamespace

import deepspeed
import torch
from openrlhf.models import Actor, get_llm_for_sequence_regression
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from openrlhf.trainer.ray.ppo_critic import CriticPPOTrainer
from openrlhf.utils.deepspeed import DeepspeedStrategy
from transformers import AutoModelForCausalLM

from openrlhf_marge import State, StateGroup
from openrlhf_marge.host.training.shared_prefix import share_prefixes_of

from factories import completion, problem
from host_objects import batch_of, experience_maker

BATCH, TOKENS = 8, 40
WAYS = (
    *((8, "stock", 0), (4, "stock", 0), (2, "stock", 0), (8, "shared", 0), (4, "shared", 0)),
    *((8, way, stage) for stage in (0, 2, 3) for way in ("tokens", "trees")),
)
SCALE = 1e4
# Where eps is far above a gradient, Adam's first step is the gradient itself.
OPTIMIZER = {
    "optim": "adam", "adam": {"lr": SCALE, "betas": (0.9, 0.95), "eps": SCALE, "weight_decay": 0.0},
    "lr_scheduler": "constant", "max_norm": 0.0, "scheduler_steps": 10,
}  # fmt: skip


def arguments(aggregation: str, dynamic: bool) -> SimpleNamespace:
    return SimpleNamespace(
        actor=SimpleNamespace(
            eps_clip_low_high=(0.2, 0.2), dual_clip=None, loss_agg_mode=aggregation, policy_loss_type="ppo",
            aux_loss_coef=0.0, entropy_coef=None,
        ),
        algo=SimpleNamespace(
            advantage=SimpleNamespace(
                is_correction_level="off", is_correction_mode="mask", is_correction_gating="ratio",
                is_correction_threshold=[0.5, 5.0],
            ),
            kl=SimpleNamespace(use_loss=True, init_coef=0.1, estimator="k3", unbiased_gradient=False),
        ),
        ds=SimpleNamespace(
            param_dtype="fp32", packing_samples=False, tensor_parallel_size=1, ring_attn_size=1, adam_offload=False,
            zpg=1,
        ),
        train=SimpleNamespace(
            max_epochs=1, dynamic_batch_enable=dynamic, colocate_all=False, async_enable=False, batch_size=BATCH,
            max_tokens_per_gpu=TOKENS,
        ),
        vllm=SimpleNamespace(sync_backend="gloo"),
        local_rank=-1,
    )  # fmt: skip


def groups() -> list[StateGroup]:
    """Of 5 and 3 completions, 1 to 19 tokens long."""
    rng = torch.Generator().manual_seed(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 19, (n,), generator=rng).tolist())

    lengths = {1: (1, 19, 3, 12, 7), 2: (16, 2, 5)}
    return [
        StateGroup(
            id=number,
            problem=problem(prompt_ids=ids(3)),
            state=State(index=0, prefix_ids=ids(number)),
            n_states=1,
            completions=tuple(completion(float(i % 2), ids=ids(n)) for i, n in enumerate(of_group)),
        )
        for number, of_group in lengths.items()
    ]


def gradient(model: str, aggregation: str, size: int, way: str, stage: int) -> list[float]:
    """Of a sample of the parameters."""
    dynamic = way in ("tokens", "trees")
    args = arguments(aggregation, dynamic)
    strategy = DeepspeedStrategy(
        max_norm=0.0, micro_train_batch_size=size, train_batch_size=BATCH, zero_stage=stage, args=args
    )
    strategy.setup_distributed()
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
    before = torch.cat([p.detach().flatten() for p in plain.parameters()]).clone()
    policy = Actor(plain)
    policy.packing_samples = False  # set for models that it loads itself
    actor, optimizer, scheduler = strategy.prepare((policy, OPTIMIZER))
    trainer = ActorPPOTrainer(strategy, actor, None, optimizer, scheduler, micro_train_batch_size=size)
    if way in ("shared", "trees"):
        share_prefixes_of(SimpleNamespace(trainer=trainer, actor=actor, strategy=strategy))
    (batch,) = experience_maker().compute_advantages_and_returns([batch_of(groups(), range(BATCH))])
    with torch.no_grad():
        log_probs = actor(batch.sequences, batch.action_mask, batch.attention_mask)
    batch.action_log_probs, batch.base_action_log_probs = log_probs + 0.1, log_probs - 0.2
    trainer.replay_buffer.append(batch)
    trainer.ppo_train(kl_ctl=0.1)
    if dynamic:
        *accumulated, last = trainer.replay_buffer.dynamic_optimizer_step
        assert accumulated and not any(accumulated) and last, "one optimizer step of several micro-batches"
    return sample(before, actor.model.module, stage)


def sample(before: torch.Tensor, model: torch.nn.Module, stage: int) -> list[float]:
    """How far a part of the weights has moved."""
    parameters = list(model.parameters())
    with deepspeed.zero.GatheredParameters(parameters, enabled=stage == 3):
        after = torch.cat([p.detach().flatten() for p in parameters])
    return (before - after)[::97].tolist()


def critic_gradient(model: str, dynamic: bool, stage: int) -> list[float]:
    """Of a sample of the parameters."""
    args = arguments("token-mean", dynamic)
    strategy = DeepspeedStrategy(
        max_norm=0.0, micro_train_batch_size=BATCH, train_batch_size=BATCH, zero_stage=stage, args=args
    )
    strategy.setup_distributed()
    torch.manual_seed(0)  # of the value head
    plain = get_llm_for_sequence_regression(model, "critic", param_dtype="fp32", attn_implementation="eager")
    before = torch.cat([p.detach().flatten() for p in plain.parameters()]).clone()
    critic, optimizer, scheduler = strategy.prepare((plain, OPTIMIZER))
    trainer = CriticPPOTrainer(strategy, critic, optimizer, scheduler, micro_train_batch_size=BATCH, value_clip=0.5)
    (batch,) = experience_maker().compute_advantages_and_returns([batch_of(groups(), range(BATCH))])
    batch.values = torch.zeros_like(batch.action_mask, dtype=torch.float)
    batch.returns = batch.sequences[:, -batch.action_mask.shape[1] :].float() / 20
    trainer.replay_buffer.append(batch)
    trainer.ppo_train()
    return sample(before, critic.module, stage)


def main(model: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE="1", RANK="0", LOCAL_RANK="0")
    aggregations = ("token-mean", "seq-mean-token-mean")
    gradients = [[gradient(model, a, *way) for way in WAYS] for a in aggregations]
    critic = [critic_gradient(model, *way) for way in ((False, 0), (True, 0), (True, 2), (True, 3))]
    print("RESULTS", json.dumps([*gradients, critic]))


if __name__ == "__main__":
    main(sys.argv[1])

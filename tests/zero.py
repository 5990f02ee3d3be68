"""OpenRLHF's actor model on two ranks under DeepSpeed's ZeRO in bf16, or without it in fp32; no Ray, no engines.

`python zero.py MODEL STAGE` prints what `run` says of each rank, {"0": ..., "1": ...}, as JSON.
"""

import json
import multiprocessing
import os
import socket
import sys
from types import SimpleNamespace

import deepspeed
import torch
from openrlhf.models import Actor
from openrlhf.utils.deepspeed import DeepspeedStrategy
from transformers import AutoModelForCausalLM

RANKS, ACCUMULATED, POSITIONS = 2, 2, 300
OPTIMIZER = {
    "optim": "adam", "adam": {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0},
    "lr_scheduler": "constant", "max_norm": 1.0, "scheduler_steps": 10,
}  # fmt: skip


def whole(parameter: torch.Tensor) -> torch.Tensor:
    with deepspeed.zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
        return parameter.detach().clone()


class PartitionsAll(DeepspeedStrategy):
    """Parameters under 100,000 elements stay whole else, as all of a tiny model would."""

    def get_ds_train_config(self, *args, **kwargs) -> dict:
        return self._partition_all(super().get_ds_train_config(*args, **kwargs))

    def get_ds_eval_config(self, *args, **kwargs) -> dict:
        return self._partition_all(super().get_ds_eval_config(*args, **kwargs))

    def _partition_all(self, config: dict) -> dict:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return config


class Policy:
    """A policy as PolicyModelActor makes it, and one batch per rank: 2 sequences, of which the last tokens count."""

    def __init__(self, model: str, stage: int) -> None:
        self.dtype = "bf16" if stage else "fp32"
        ds = SimpleNamespace(
            param_dtype=self.dtype, adam_offload=False, zpg=1, zero_stage=stage, tensor_parallel_size=1
        )
        args = SimpleNamespace(ds=ds, train=SimpleNamespace(dynamic_batch_enable=False), local_rank=-1)
        batch = 2 * RANKS * ACCUMULATED
        self.strategy = PartitionsAll(
            max_norm=1.0, micro_train_batch_size=2, train_batch_size=batch, zero_stage=stage, args=args
        )
        self.strategy.setup_distributed()
        config = self.strategy.get_ds_train_config()
        actor = Actor(model, attn_implementation="eager", param_dtype=self.dtype, ds_config=config)
        dtype = torch.bfloat16 if stage else torch.float32
        plain = dict(AutoModelForCausalLM.from_pretrained(model, dtype=dtype).named_parameters())
        self.norms: list[float] = []
        self.misread = [name for name, p in actor.model.named_parameters() if not torch.equal(whole(p), plain[name])]
        self.actor, self.optimizer, self.scheduler = self.strategy.prepare((actor, OPTIMIZER))
        generator = torch.Generator().manual_seed(torch.distributed.get_rank())
        self.tokens = torch.randint(3, 90, (2, POSITIONS), generator=generator)

    def lost_writes(self) -> int:
        """Of ten values written to a large weight that is gathered with a small bias: those that are not there."""
        with deepspeed.zero.Init(config_dict_or_path=self.strategy.get_ds_train_config()):
            layer = torch.nn.Linear(4096, 1024)
        lost = 0
        for value in range(10):
            with deepspeed.zero.GatheredParameters(list(layer.parameters()), modifier_rank=0):
                layer.weight.data.fill_(value)
            lost += bool((whole(layer.weight) != value).any())
        return lost

    def log_probs(self, actor: Actor | None = None) -> torch.Tensor:
        return (actor or self.actor)(self.tokens, torch.ones(2, 20), torch.ones_like(self.tokens))

    def log_probs_of_reference(self, model: str) -> list[torch.Tensor]:
        """Three times, as of three micro-batches, by a reference model as ReferenceModelActor makes it."""
        config = self.strategy.get_ds_eval_config()
        reference = Actor(model, attn_implementation="eager", param_dtype=self.dtype, ds_config=config)
        reference = self.strategy.prepare(reference).eval()
        with torch.no_grad():
            return [self.log_probs(reference) for _ in range(3)]

    def train(self, optimizer_steps: int, penalty=lambda log_probs: 0.0) -> None:
        self.actor.train()
        for _ in range(optimizer_steps):
            for _ in range(ACCUMULATED):
                log_probs = self.log_probs()
                self.strategy.backward(-log_probs.mean() + penalty(log_probs), self.actor, self.optimizer)
                self.strategy.optimizer_step(self.optimizer, self.actor, self.scheduler)
            self.norms.append(self.strategy.get_grad_norm(self.actor))
        self.actor.eval()

    def sentence(self, **kwargs) -> str:
        """What ends the training."""
        try:
            self.train(1, **kwargs)
        except FloatingPointError as e:
            return str(e)
        return "trained"


def run(model: str, stage: int, rank: int, port: int, results) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(RANKS), RANK=str(rank), LOCAL_RANK=str(rank)
    )
    policy = Policy(model, stage)
    with torch.no_grad():
        before = policy.log_probs()
    lost_writes = policy.lost_writes() if stage == 3 else 0
    of_reference = policy.log_probs_of_reference(model)
    policy.train(2)
    with torch.no_grad():
        after = policy.log_probs()
    rotary = policy.actor.model.module.model.rotary_emb
    said = {"misread": policy.misread, "lost writes": lost_writes, "frequencies": rotary.inv_freq.tolist()}
    said |= {"before": before.tolist(), "after": after.tolist(), "norms": list(policy.norms)}
    said["reference"] = [torch.equal(before, log_probs) for log_probs in of_reference]
    said["gradients"] = policy.sentence(penalty=lambda log_probs: (log_probs - log_probs.detach()).sum().sqrt())
    said["loss"] = policy.sentence(penalty=lambda _: torch.tensor(float("nan")))
    results.put((rank, said))
    torch.distributed.barrier()


def main(model: str, stage: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    context = multiprocessing.get_context("fork")  # the imports are made once
    results = context.SimpleQueue()
    processes = [context.Process(target=run, args=(model, stage, rank, port, results)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    print("RESULTS", json.dumps(dict(results.get() for _ in processes)))
    for process in processes:
        process.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

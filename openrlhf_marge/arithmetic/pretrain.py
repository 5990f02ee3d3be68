"""Train a task's base model: level and seed -> model folder, training and held-out problems.

`python -m openrlhf_marge.arithmetic.pretrain --out DIR --seed N` writes DIR/model, DIR/train.jsonl, DIR/heldout.jsonl.
Supervised learning on a teacher's demonstrations with the learning rate decayed to 0: what RL gains later is then not
annealing. The base model of the level `easy` solves about 40 % of the held-out problems.
"""

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from openrlhf_marge.arithmetic.levels import LEVELS
from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.arithmetic.sampling import chat_prompt, measure_pass_at_1
from openrlhf_marge.arithmetic.task import Problem, Task, split, write_jsonl

EASY = LEVELS["easy"]
NUM_HELDOUT = 256
BATCH_SIZE = 32
NUM_STEPS, WARMUP_STEPS = 600, 50
ADAM_LEARNING_RATE, MUON_LEARNING_RATE = 3e-3, 0.02
MAX_GRAD_NORM = 1.0
MAX_ROUNDS = 3
"""Schedules that are tried while the base model is below the task's `min_pass_at_1`."""
IGNORED = -100
"""Label of a position the loss leaves out: PyTorch's and transformers' convention."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""(input_ids, labels), each [B, T] and padded on the right."""


def demonstrations(tokenizer: Qwen2Tokenizer, task: Task, heldout: Sequence[Problem], seed: int) -> Iterator[Batch]:
    """Endless batches of the teacher's demonstrations, none of a held-out problem."""
    rng, teacher = random.Random(f"demonstrations {seed}"), task.teacher(seed)
    problems = task.problems_to_demonstrate(rng, heldout)
    while True:
        batch = list(islice(problems, BATCH_SIZE))
        responses = [teacher.demonstrate(problem, rng) + tokenizer.eos_token for problem in batch]
        yield encode(tokenizer, [chat_prompt(tokenizer, problem) for problem in batch], responses)


def encode(tokenizer: Qwen2Tokenizer, prompts: list[str], responses: list[str]) -> Batch:
    """Token ids of prompt and response; only the response's tokens carry labels."""
    rows = list(zip(tokenizer(prompts)["input_ids"], tokenizer(responses)["input_ids"], strict=True))
    width = max(len(prompt) + len(response) for prompt, response in rows)
    inputs_BT = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels_BT = torch.full((len(rows), width), IGNORED)
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        inputs_BT[row, :end] = torch.tensor(prompt + response)
        labels_BT[row, len(prompt) : end] = torch.tensor(response)
    return inputs_BT, labels_BT


def build_optimizers(model: Qwen2ForCausalLM) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest: AdamW alone takes three times the steps to learn the look-up
    of the next operation in the question."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=MUON_LEARNING_RATE, momentum=0.95, weight_decay=0.0)
    return muon, torch.optim.AdamW(rest, lr=ADAM_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)


def train(model: Qwen2ForCausalLM, batches: Iterator[Batch]) -> None:
    """One schedule of supervised steps, `model` changed in place."""
    optimizers = build_optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, _learning_rate_factor) for optimizer in optimizers]
    with tqdm(islice(batches, NUM_STEPS), total=NUM_STEPS, desc="pretrain", unit="step") as progress:
        for inputs_BT, labels_BT in progress:
            output = model(input_ids=inputs_BT, labels=labels_BT)
            output.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            for stepper in (*optimizers, *schedules):
                stepper.step()
            model.zero_grad()
            accuracy = _token_accuracy(output.logits, labels_BT)
            progress.set_postfix(loss=f"{output.loss.item():.3f}", accuracy=f"{accuracy:.3f}", refresh=False)


def write_problems(out: Path, seed: int, task: Task = EASY) -> list[Problem]:
    """Write `out`/train.jsonl and `out`/heldout.jsonl; returns the held-out problems."""
    train_problems, heldout = split(task.problems(random.Random(seed)), task.num_train, NUM_HELDOUT)
    write_jsonl(train_problems, out / "train.jsonl")
    write_jsonl(heldout, out / "heldout.jsonl")
    return heldout


def pretrain(out: Path, seed: int, task: Task = EASY) -> float:
    """Write model, tokenizer and problems below `out`; returns the base model's held-out pass@1."""
    heldout = write_problems(out, seed, task)
    tokenizer = build_tokenizer(task.phrases)
    model, batches = build_model(tokenizer, seed), demonstrations(tokenizer, task, heldout, seed)
    pass_at_1 = 0.0
    for _ in range(MAX_ROUNDS):
        train(model, batches)
        pass_at_1 = measure_pass_at_1(model, tokenizer, heldout, seed, task)
        if pass_at_1 >= task.min_pass_at_1:
            break
    model.to(torch.bfloat16).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return pass_at_1


def run(levels: Mapping[str, Task], description: str) -> None:
    """The command line of a task with these levels."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="decides problems, errors, initial weights, sampling")
    parser.add_argument("--level", choices=levels, default="easy", help="difficulty [%(default)s]")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a second thread gains little at this size, and loses much on a busy machine
    pass_at_1 = pretrain(args.out, args.seed, levels[args.level])
    print(f"{args.out / 'model'}: held-out pass@1 {pass_at_1:.3f}")


def _token_accuracy(logits_BTV: torch.Tensor, labels_BT: torch.Tensor) -> float:
    """Share of response tokens that are the likeliest one."""
    targets_BT = labels_BT[:, 1:]
    hits_BT = logits_BTV[:, :-1].argmax(-1) == targets_BT
    return hits_BT[targets_BT != IGNORED].float().mean().item()


def _learning_rate_factor(step: int) -> float:
    """Linear warm-up, then linear decay to 0."""
    return min((step + 1) / WARMUP_STEPS, (NUM_STEPS - step) / (NUM_STEPS - WARMUP_STEPS))


if __name__ == "__main__":
    run(LEVELS, "Train the small base model of the arithmetic task.")

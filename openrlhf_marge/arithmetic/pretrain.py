"""Train the embedded default's base model: seed -> model folder, training and held-out problems.

`python -m openrlhf_marge.arithmetic.pretrain --out DIR --seed N` writes DIR/model, DIR/train.jsonl, DIR/heldout.jsonl.
Supervised learning on noisy demonstrations with the learning rate decayed to 0: what RL gains later is then not
annealing. The base model solves about 40 % of the held-out problems.
"""

import argparse
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.arithmetic.problems import Problem, generate_problems, split_problems, write_jsonl
from openrlhf_marge.arithmetic.sampling import chat_prompt, measure_pass_at_1
from openrlhf_marge.arithmetic.teacher import NoisyTeacher

NUM_TRAIN, NUM_HELDOUT = 512, 256
BATCH_SIZE = 32
NUM_STEPS = 700
WARMUP_STEPS = 50
ADAM_LEARNING_RATE = 3e-3
MUON_LEARNING_RATE = 0.02
MAX_GRAD_NORM = 1.0
MEASURE_EVERY = 350
IGNORED = -100
"""Label of a position the loss leaves out: PyTorch's and transformers' convention."""


def demonstrations(
    tokenizer: PreTrainedTokenizerFast, heldout: list[Problem], seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (input_ids, labels), each [BATCH_SIZE, T] and padded on the right; only responses carry labels."""
    rng, teacher = random.Random(seed + 1), NoisyTeacher(seed)
    problems = generate_problems(rng, exclude=heldout)
    while True:
        batch = list(islice(problems, BATCH_SIZE))
        prompts = [chat_prompt(tokenizer, problem) for problem in batch]
        responses = [teacher.demonstrate(problem, rng) + tokenizer.eos_token for problem in batch]
        yield encode(tokenizer, prompts, responses)


def encode(
    tokenizer: PreTrainedTokenizerFast, prompts: list[str], responses: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(input_ids, labels) of a batch, [B, T] each."""
    prompt_ids, response_ids = tokenizer(prompts)["input_ids"], tokenizer(responses)["input_ids"]
    rows = list(zip(prompt_ids, response_ids, strict=True))
    width = max(len(prompt) + len(response) for prompt, response in rows)
    inputs_BT = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels_BT = torch.full((len(rows), width), IGNORED)
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        inputs_BT[row, :end] = torch.tensor(prompt + response)
        labels_BT[row, len(prompt) : end] = torch.tensor(response)
    return inputs_BT, labels_BT


def build_optimizers(model: Qwen2ForCausalLM) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the layers' matrices, which learns to look operations up in a third of AdamW's steps; AdamW for the rest."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    adam = torch.optim.AdamW(rest, lr=ADAM_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    return torch.optim.Muon(matrices, lr=MUON_LEARNING_RATE, momentum=0.95, weight_decay=0.0), adam


def train(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, heldout: list[Problem], seed: int
) -> float:
    """Train `model` in place; returns its held-out pass@1."""
    optimizers = build_optimizers(model)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, _learning_rate_factor) for optimizer in optimizers]
    pass_at_1 = 0.0
    batches = islice(demonstrations(tokenizer, heldout, seed), NUM_STEPS)
    with tqdm(batches, total=NUM_STEPS, desc="pretrain", unit="step") as progress:
        for step, (inputs_BT, labels_BT) in enumerate(progress, start=1):
            loss = model(input_ids=inputs_BT, labels=labels_BT).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            for stepper in (*optimizers, *schedules):
                stepper.step()
            model.zero_grad()
            if step % MEASURE_EVERY == 0:
                pass_at_1 = measure_pass_at_1(model, tokenizer, heldout, seed)
            progress.set_postfix(loss=f"{loss.item():.3f}", heldout=f"{pass_at_1:.2f}", refresh=False)
    return pass_at_1


def pretrain(out: Path, seed: int) -> float:
    """Write model, tokenizer and problems below `out`; returns the base model's held-out pass@1."""
    train_problems, heldout = split_problems(seed, NUM_TRAIN, NUM_HELDOUT)
    write_jsonl(train_problems, out / "train.jsonl")
    write_jsonl(heldout, out / "heldout.jsonl")
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed)
    pass_at_1 = train(model, tokenizer, heldout, seed)
    model.to(torch.bfloat16).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return pass_at_1


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the small base model of the embedded default.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="decides problems, errors, initial weights, sampling")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pass_at_1 = pretrain(args.out, args.seed)
    print(f"{args.out / 'model'}: held-out pass@1 {pass_at_1:.2f}")


def _learning_rate_factor(step: int) -> float:
    """Linear warm-up, then linear decay to 0."""
    return min((step + 1) / WARMUP_STEPS, (NUM_STEPS - step) / (NUM_STEPS - WARMUP_STEPS))


if __name__ == "__main__":
    main()

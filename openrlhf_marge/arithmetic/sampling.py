"""Batched sampling from the small model and its pass@1, without a server: how the base model is measured."""

from collections.abc import Sequence

import torch
from transformers import DynamicCache, Qwen2ForCausalLM, Qwen2Tokenizer

from openrlhf_marge.arithmetic.task import Problem, Task

TEMPERATURE, TOP_P = 0.8, 0.95


def chat_prompt(tokenizer: Qwen2Tokenizer, problem: Problem) -> str:
    """The prompt as the model sees it."""
    messages = [{"role": "user", "content": problem.question}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@torch.no_grad()
def sample_responses(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    prompts: Sequence[str],
    generator: torch.Generator,
    max_len: int,
) -> list[str]:
    """One response per prompt at temperature 0.8 and top-p 0.95, in the model's own precision.

    `max_len` bounds the tokens of the shortest prompt and its response.
    """
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    mask_BT, inputs_BT = batch["attention_mask"], batch["input_ids"]
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    cache, ended_B, sampled = DynamicCache(), torch.zeros(len(prompts), dtype=torch.bool), []
    for _ in range(max_len - int(mask_BT.sum(-1).min())):
        output = model(inputs_BT, attention_mask=mask_BT, position_ids=positions_BT, past_key_values=cache)
        tokens_B = _sample_nucleus(output.logits[:, -1].float(), generator)
        tokens_B[ended_B] = tokenizer.pad_token_id
        sampled.append(tokens_B)
        ended_B |= tokens_B == tokenizer.eos_token_id
        if ended_B.all():
            break
        inputs_BT, positions_BT = tokens_B[:, None], positions_BT[:, -1:] + 1
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(prompts), 1)], dim=1)
    return tokenizer.batch_decode(torch.stack(sampled, dim=1), skip_special_tokens=True)


def measure_pass_at_1(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, problems: Sequence[Problem], seed: int, task: Task
) -> float:
    """Share of `problems` solved by one sample each, with weights in bfloat16, as they are saved."""
    prompts = [chat_prompt(tokenizer, problem) for problem in problems]
    saved = Qwen2ForCausalLM(model.config).to(torch.bfloat16).eval()
    saved.load_state_dict(model.state_dict())
    saved.to(getattr(torch, task.dtype))
    responses = sample_responses(saved, tokenizer, prompts, torch.Generator().manual_seed(seed), task.max_len)
    correct = (p.is_solved_by(r) for p, r in zip(problems, responses, strict=True))
    return sum(correct) / len(problems)


def _sample_nucleus(logits_BV: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Sample one token per row from the smallest set of likeliest tokens whose mass reaches top-p."""
    probs_BV, order_BV = (logits_BV / TEMPERATURE).softmax(-1).sort(dim=-1, descending=True)
    mass_before_BV = probs_BV.cumsum(-1) - probs_BV
    kept_BV = probs_BV.masked_fill(mass_before_BV >= TOP_P, 0.0)
    choice_B1 = torch.multinomial(kept_BV, 1, generator=generator)
    return order_BV.gather(-1, choice_B1).squeeze(-1)

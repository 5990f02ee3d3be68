"""The tokenizer and the untrained model of the embedded default, both in the form `from_pretrained` reads.

Byte-level without merges, so that any prompt survives, plus one token per phrase that every problem repeats, so that a
response takes about 50 tokens instead of 130. No phrase holds a digit that has to be worked out.
"""

from collections.abc import Sequence

import torch
from tokenizers import AddedToken, pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from openrlhf_marge.arithmetic.problems import MAX_STEPS, OPERATIONS

PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
PHRASES = (
    "Let's think step by step.",
    "\n\n",
    *(f"Step {number}:" for number in range(1, MAX_STEPS + 1)),
    *map(str, OPERATIONS),
    "The answer is: \\boxed{",
    "}.",
    "What is ",
    "system",
    "user",
    "assistant",
)
MAX_POSITIONS = 512
"""Tokens; the longest prompt and response together take under 120."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def build_tokenizer(phrases: Sequence[str] = PHRASES) -> Qwen2Tokenizer:
    """Lossless on any text. Qwen2's own class: AutoTokenizer loads no other one from the folder of a Qwen2 model.

    The phrases are added tokens, which are cut out of the text before Qwen2's splitting rules apply.
    """
    special = (PAD, TURN_START, TURN_END)
    vocabulary = {token: index for index, token in enumerate((*special, *sorted(pre_tokenizers.ByteLevel.alphabet())))}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        pad_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[TURN_START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=MAX_POSITIONS,
    )
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    return tokenizer


def build_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen2ForCausalLM:
    """About 0.1M parameters, float32, randomly initialised from `seed`; head_dim 32 suits vLLM's attention kernels."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config)

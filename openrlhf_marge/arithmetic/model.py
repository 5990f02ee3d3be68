"""The tokenizer and the untrained model of the embedded default, both in the form `from_pretrained` reads.

A closed vocabulary: one token per printable character, so that any ASCII prompt survives, plus the phrases every problem
repeats, so that a response takes about 75 tokens instead of 170. No phrase holds a digit that has to be worked out.
"""

import string

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from openrlhf_marge.arithmetic.problems import MAX_STEPS, OPERATIONS

PAD, UNKNOWN, TURN_START, TURN_END = "<|endoftext|>", "<|unknown|>", "<|im_start|>", "<|im_end|>"
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
"""Tokens; the longest prompt and response together take about 130."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Lossless on printable ASCII; anything else becomes one unknown token per character."""
    special = (PAD, UNKNOWN, TURN_START, TURN_END)
    characters = [c for c in string.printable if c not in "\t\r\x0b\x0c"]
    vocabulary = {token: index for index, token in enumerate((*special, *PHRASES, *characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    alternatives = "|".join(_escape(phrase) for phrase in PHRASES)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"{alternatives}|[\\s\\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        pad_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[TURN_START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=MAX_POSITIONS,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
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


def _escape(phrase: str) -> str:
    """`phrase` as a literal of the tokenizer's regex dialect (Oniguruma), where only these characters are special here."""
    return "".join(f"\\{c}" if c in ".+{}\\" else c for c in phrase)

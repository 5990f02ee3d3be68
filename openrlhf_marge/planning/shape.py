"""A model's config.json -> its parameters and FLOPs; no weights are loaded.

Dense decoders with gated MLPs: what Llama, Mistral, Qwen2 and Qwen3 are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openrlhf_marge.data.files import read_object
from openrlhf_marge.models import why_not

KNOWN = ("llama", "mistral", "qwen2", "qwen3")
NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
FLOPS = 2  # of a parameter and a token: a product and a sum


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder; ``queries`` and ``keys`` are the widths of all heads together."""

    hidden: int
    layers: int
    queries: int  # heads x head_dim
    keys: int  # key-value heads x head_dim
    inner: int  # of the MLP
    vocab: int
    tied: bool = False  # whether the head is the embedding
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    norm_of_heads: int = 0  # head_dim where queries and keys are normalized (Qwen3)
    slides: bool = False  # whether attention has a window, with which --marge.share_prefix does not work

    @property
    def layer_weights(self) -> int:
        """Parameters of a layer that are multiplied with every token."""
        return self.hidden * (2 * self.queries + 2 * self.keys + 3 * self.inner)

    @property
    def head(self) -> int:
        """Parameters that make a token's logits."""
        return self.hidden * self.vocab

    @property
    def parameters(self) -> int:
        """All of them, biases and norms included."""
        small = 2 * self.hidden + 2 * self.norm_of_heads
        small += (self.queries + 2 * self.keys) * self.qkv_bias + self.hidden * self.output_bias
        small += (2 * self.inner + self.hidden) * self.mlp_bias
        return self.layers * (self.layer_weights + small) + self.head * (1 if self.tied else 2) + self.hidden

    @property
    def tensors(self) -> int:
        """Parameter tensors, which go to the engines one by one."""
        biases = 3 * self.qkv_bias + self.output_bias + 3 * self.mlp_bias
        return self.layers * (9 + biases + 2 * bool(self.norm_of_heads)) + (2 if self.tied else 3)

    def cache_bytes(self, of_number: int) -> int:
        """Of keys and values of a token in all layers; ``of_number`` bytes a number."""
        return 2 * self.layers * self.keys * of_number

    def adapter_parameters(self, rank: int) -> int:
        """Of LoRA adapters of this rank on all linear layers but the head."""
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return self.layers * rank * (attention + 3 * (self.hidden + self.inner))

    def forward(self, tokens: float, logits: float, pairs: float) -> float:
        """FLOPs of a forward pass: ``tokens`` through the layers, logits of so many of them, ``pairs`` of attention.

        A pair is a token and one that it looks at, itself included.
        """
        through = self.layers * (self.layer_weights * tokens + 2 * self.queries * pairs)
        return FLOPS * (through + self.head * logits)


def read_shape(model: str, config: Path | None = None) -> ModelShape:
    """The shape of ``--actor.model_name_or_path``, by ``config`` where that is given.

    ValueError where there is no config.json, or it is of a kind of model that is not known here.
    """
    path = config or Path(model) / "config.json"
    if path.is_file():
        return shape_of(read_object(path), str(path))
    if config or Path(model).is_dir():
        raise ValueError(f"{path} is missing; give the config.json of the model with --config")
    from transformers import PretrainedConfig

    try:
        found, _ = PretrainedConfig.get_config_dict(model)
    except Exception as e:  # from missing files to failed downloads, transformers raises what it likes
        raise ValueError(
            f"--actor.model_name_or_path {model} has no config.json that can be had ({why_not(model, e)}); give it "
            "with --config"
        ) from e
    return shape_of(found, model)


def shape_of(config: Mapping[str, Any], name: str) -> ModelShape:
    """The shape that a config describes; ValueError naming what is missing or not known."""
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise ValueError(f"{name} is of model_type {kind!r}; plans are made for {', '.join(KNOWN)}")
    for key in NEEDED:
        if not isinstance(config.get(key), int) or config[key] < 1:
            raise ValueError(f"{name} has no {key}, or it is no number above 0; give the model's own config.json")
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    bias = kind == "qwen2" or bool(config.get("attention_bias"))
    return ModelShape(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        queries=heads * head_dim,
        keys=(config.get("num_key_value_heads") or heads) * head_dim,
        inner=config["intermediate_size"],
        vocab=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=bias,
        output_bias=bias and kind != "qwen2",
        mlp_bias=bool(config.get("mlp_bias")),
        norm_of_heads=head_dim if kind == "qwen3" else 0,
        slides=bool(config.get("sliding_window")) and config.get("use_sliding_window", True),
    )

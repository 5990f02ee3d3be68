"""Which models can share prefixes, or a sentence that says why one cannot."""

from __future__ import annotations

from typing import Any


def why_not(config: Any) -> str | None:
    """What keeps a model with this config from sharing prefixes; None where nothing does."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ()) - {"full_attention"}
    if kinds:
        return f"it has layers of {' and '.join(sorted(kinds))}, and only full attention is served"
    if getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True):
        return f"it has a sliding window of {text.sliding_window} tokens, and only full attention is served"
    if getattr(text, "attention_dropout", 0.0):
        return "it drops attention at random while it is trained"
    if text is not config or hasattr(config, "vision_config"):
        return "it takes images"
    return None


def check_config(config: Any) -> None:
    """ValueError with the reason where a model with this config cannot share prefixes."""
    if reason := why_not(config):
        raise ValueError(f"--marge.share_prefix does not work with this model: {reason}; leave the flag out")


def check_served(model: Any) -> None:
    """The same for a loaded model, whose class must take its attention from transformers' registry."""
    check_config(model.config)
    if not getattr(model, "_supports_attention_backend", False):
        raise ValueError(
            f"--marge.share_prefix does not work with {type(model).__name__}, which does not take its attention from "
            "transformers' registry; leave the flag out"
        )

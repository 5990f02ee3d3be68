"""Of the stand-in for vLLM."""

from types import SimpleNamespace

RequestOutputKind = SimpleNamespace(FINAL_ONLY=2)

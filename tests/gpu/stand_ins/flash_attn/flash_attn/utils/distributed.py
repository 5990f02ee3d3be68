"""Of the stand-in for flash-attn."""

all_gather = None

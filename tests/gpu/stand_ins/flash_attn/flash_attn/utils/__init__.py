"""Of the stand-in for flash-attn."""

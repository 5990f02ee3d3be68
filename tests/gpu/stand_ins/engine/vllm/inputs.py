"""Of the stand-in for vLLM."""

TokensPrompt = dict

"""What a machine, and a launch on it, lack before a run: `Iterator[Finding]` of each part, nothing is changed.

machine.py   versions, patches, flash-attn, shared memory, disk
devices.py   GPUs as torch, vLLM and Ray see them
launch.py    the flags of a launch: tokenizer, prompts, gold answers
"""

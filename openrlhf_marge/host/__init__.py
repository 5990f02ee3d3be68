"""The one folder that imports openrlhf, ray, vllm and deepspeed; its subfolders are sorted by when they run."""

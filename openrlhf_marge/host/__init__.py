"""The one folder that imports openrlhf, ray, vllm and deepspeed; files are named after the host file they extend."""

"""A run as one HTML page to browse (``cli/report.py``): Fig. 7 and 8 of the paper for every visit of a dump.

dump -> visits found -> a sample of them -> their texts and numbers -> JSON inside page.html, drawn by page.js

Imports no torch, ray, vllm, deepspeed, openrlhf or transformers: the tokenizer is injected.
"""

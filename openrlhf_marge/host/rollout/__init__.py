"""Connects the explorer to OpenRLHF's engines, prompts and rewards, in the process that generates."""

"""Stands in for flash-attn, which OpenRLHF without patches imports; nothing here can be called."""

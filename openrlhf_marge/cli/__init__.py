"""Commands: ``python -m openrlhf_marge.cli.<name>``."""

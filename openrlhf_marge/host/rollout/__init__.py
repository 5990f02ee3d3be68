"""In the process that generates: engines, prompts and rewards of OpenRLHF for the explorer."""

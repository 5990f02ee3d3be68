"""A run on disk and as processes: its folder, log, checkpoints, progress, and the commands that it starts."""

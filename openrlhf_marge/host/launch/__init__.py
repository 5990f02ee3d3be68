"""Checks and completes the flags of a launch script and its data, before Ray starts."""

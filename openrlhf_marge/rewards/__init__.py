"""Rewards of responses: the math grader in batches, other domains' functions, and a guard against broken graders."""

"""What grades a response: the math grader in batches, other domains' rewards, and what guards against failures."""

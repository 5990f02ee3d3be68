"""The embedded default: small arithmetic problems and a model trained from scratch, for quickstart and tests."""

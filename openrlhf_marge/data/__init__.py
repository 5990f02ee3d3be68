"""Rows on disk: JSONL and Parquet files, the dump of a rollout, and the removal of secrets from both."""

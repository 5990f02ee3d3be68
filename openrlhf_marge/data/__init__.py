"""Rows on disk: JSONL and Parquet files, the dump of a rollout, and what keeps secrets out of both."""

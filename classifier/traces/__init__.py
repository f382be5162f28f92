"""Traces as files: Parquet parts of bounded size, and what they say in a table."""

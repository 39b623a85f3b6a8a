"""From source files to frame table, Parquet shards and torch batches."""

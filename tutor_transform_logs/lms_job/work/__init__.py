"""WORK: segments into delivered batches."""

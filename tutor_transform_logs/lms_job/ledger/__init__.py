"""The job's memory: what is done, by whom, and what failed."""

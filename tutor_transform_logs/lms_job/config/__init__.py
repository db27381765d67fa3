"""The job's config file: every key, its default and its check."""

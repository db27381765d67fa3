"""The settings modules that Tutor's rendered settings start from."""

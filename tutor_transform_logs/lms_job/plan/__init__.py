"""PLAN: what is to be read, cut into segments."""

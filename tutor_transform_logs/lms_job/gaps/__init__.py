"""GAPS: what of the logs is missing in the table, counted by day."""

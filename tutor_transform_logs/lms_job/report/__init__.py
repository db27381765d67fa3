"""REPORT: totals, the result, the report page, joined files."""

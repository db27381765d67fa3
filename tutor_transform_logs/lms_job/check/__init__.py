"""CHECK: find out whether a run can start."""

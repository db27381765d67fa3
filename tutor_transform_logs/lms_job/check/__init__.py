"""CHECK: look before a run whether it can work."""

"""VERIFY: compare what was delivered with what the destinations hold."""

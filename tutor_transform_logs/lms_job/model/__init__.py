"""Frozen values and pure functions that the other folders share. Imports neither Django nor requests."""

"""Stands where edx-platform's modulestore is."""

"""Stands where edx-platform's ``lms`` package is."""

"""Stands where edx-platform's ``xmodule`` package is."""

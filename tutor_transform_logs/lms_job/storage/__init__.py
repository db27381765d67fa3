"""Local directories and object stores behind one interface."""

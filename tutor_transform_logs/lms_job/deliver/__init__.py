"""Where statements go: an LRS, files, loggers."""

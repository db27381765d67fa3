"""Where statements go: an LRS, ClickHouse, files, loggers."""

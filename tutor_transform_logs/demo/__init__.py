"""The demo: a small embedded LMS, sample tracking logs, and a command that runs the real job on them."""

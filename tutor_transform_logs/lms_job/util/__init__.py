"""Small helpers that know nothing of the job: console, back-off, signals, formatting."""

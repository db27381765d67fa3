"""The same statements as event-routing-backends makes, in less time."""

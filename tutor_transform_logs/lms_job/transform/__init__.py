"""Events into statements, by event-routing-backends."""

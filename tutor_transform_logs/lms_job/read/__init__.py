"""From the bytes of an object to lines and events."""

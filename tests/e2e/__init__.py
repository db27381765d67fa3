"""The plugin with a real Tutor, a real Docker daemon and containers made from an image like the LMS's."""

"""The embedded LMS. This folder goes on ``sys.path``: ``common`` and ``openedx`` are imported from its top."""

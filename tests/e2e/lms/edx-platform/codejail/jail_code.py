"""What Tutor's settings import from codejail."""

from __future__ import annotations

from typing import Any


def configure(command: str, bin_path: str, user: Any = None) -> None:
    """No code is ever run in a jail here."""

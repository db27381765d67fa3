"""What Tutor's settings import from here."""

from __future__ import annotations

from typing import Any


def update_module_store_settings(module_store_setting: Any, doc_store_settings: Any = None) -> None:
    """There is no module store here to set up."""

"""Words of PLAN that whoever started it may look for in its output: they say what is to be done next."""

from __future__ import annotations

NOTHING_NEW = "Nothing new in "
RESUMING = "Resuming plan "


def says_resumed(output: str) -> bool:
    """Did PLAN take up the plan of an earlier run? ``output``: as text, or as JSON lines."""
    return RESUMING in output or '"resumed": true' in output

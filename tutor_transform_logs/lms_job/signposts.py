"""Words of PLAN that whoever started it may look for in its output: they say what is to be done next."""

from __future__ import annotations

NOTHING_NEW = "Nothing new in "
RESUMING = "Resuming plan "

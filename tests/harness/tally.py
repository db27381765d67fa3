"""What a session of fault tests has tried, and whether anything differed: the last line of ``make faults``."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

LONG = os.environ.get("TRANSFORM_LOGS_FAULTS") == "long"
"""Is this the long form (``make faults``), or the short one that is part of ``make test``?"""

_counts: Counter[str] = Counter()
_said: list[str] = []


def add(kind: str, count: int = 1) -> None:
    """Count things tried: ``kills``, ``faults``, ``inputs``."""
    _counts[kind] += count


def counts() -> dict[str, int]:
    """What was tried so far, by kind."""
    return dict(_counts)


def say(line: str) -> None:
    """A line of its own for the end of the session."""
    _said.append(line)


def said() -> list[str]:
    """The lines of their own so far."""
    return list(_said)


def same(expected: Any, found: Any, what: str) -> None:
    """Assert that two outcomes are the same; a difference is counted before it fails."""
    if expected == found:
        return
    _counts["accounting_errors"] += 1
    if isinstance(expected, dict) and isinstance(found, dict):
        differ = [key for key in expected if expected[key] != found.get(key)]
        expected, found = ({key: values.get(key) for key in differ} for values in (expected, found))
    raise AssertionError(f"{what}\nexpected {repr(expected)[:3000]}\nfound    {repr(found)[:3000]}")


def summary() -> str:
    """One line about all of them, or nothing if none was tried."""
    if not _counts:
        return ""
    tried = ", ".join(f"{_counts[kind]:,} {kind}" for kind in ("kills", "signals", "faults", "inputs"))
    form = "long" if LONG else "short"
    return f"fault suite ({form} form): {tried} tried; differences found: {_counts['accounting_errors']}"

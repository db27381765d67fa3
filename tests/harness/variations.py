"""Events that are changed at random, to compare what two ways make of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# Values that ERB, tincan or a database may stumble over; no NaN, which is not equal to itself.
STRANGE = st.sampled_from(
    [None, True, False, 0, -1, 1, 1.5, 1e300, 2**31, 2**63, 2**70, -0.0, "", " ", "0", "7", "-3", "1.5", "x", "é\u0301",
     "\0", "\ud800", "a" * 5000, [], [1], {}, {"id": "x"}, {"user_id": 3}, "2026-03-01", "2026-03-01T10:00:00Z",
     "2026-13-01T10:00:00+00:00", "2026-03-01T10:00:00.123456+05:30", "2026-03-01T24:00:00+00:00",
     "2026-03-01T10:00:60+00:00", "block-v1:a+b+c+type@x+block@y", "course-v1:a+b+c", "learner0012", "LEARNER0012",
     "Gone_Student", "https://example.org/?a=b#c", "_x", "٣"]
)  # fmt: skip


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in an event."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*before, key)
        yield from paths(child, (*before, key))


def changed(event: dict[str, Any], changes: list[tuple[int, str, Any]]) -> dict[str, Any]:
    """The event with values put at, taken from or added beside places in it, but still of its type."""
    event = copy.deepcopy(event)
    if isinstance(event["event"], str) and event["event"].startswith("{"):
        event["event"] = json.loads(event["event"])
    for place, how, new in changes:
        value = copy.deepcopy(new)
        there = [path for path in paths(event) if path[0] != "name"]
        *before, last = there[place % len(there)]
        owner: Any = event
        for key in before:
            owner = owner[key]
        if how == "take" and isinstance(owner, dict):
            del owner[last]
        elif how == "add" and isinstance(owner, dict):
            owner[["user_id", "username", "course_id", "id", "timestamp", "time", "module_id"][place % 7]] = value
        else:
            owner[last] = value
    return event


CHANGES = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from(["put", "take", "add"]), STRANGE), min_size=1, max_size=3
)

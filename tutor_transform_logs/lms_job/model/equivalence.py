"""Is a statement that was found the same as the one that was sent, apart from what an LRS adds?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

# xAPI 1.0.3, part 2, sections 2.4.8 to 2.4.10: set by the LRS, whatever was sent.
SET_BY_LRS = frozenset({"stored", "authority", "version"})
# Part 2, sections 2.4.2 and 2.4.4: the default ``objectType`` of agents and objects. ERB logs an activity that has
# children as GroupActivity, which xAPI does not have, and its LRS client posts that as Activity (deliver/wire_form).
DEFAULT_TYPES = frozenset({"Agent", "Activity", "GroupActivity"})

# The last digit of a time that an LRS keeps to 3, 4 or 5 decimals of a second.
SHORTENED_MICROSECONDS = (1000, 100, 10)


def comparable(fields: Mapping[str, Any]) -> Any:
    """An xAPI statement or a Caliper envelope as data, without what may differ between two copies of it.

    An LRS may write a time in another form, write defaults out, and turn single activities into lists (xAPI 1.0.3,
    part 2, section 2.4.6.2). A Caliper envelope's ``sendTime`` is only the time at which the envelope was made.
    """
    if "actor" not in fields:
        return {name: value for name, value in fields.items() if name != "sendTime"}
    kept = {name: _without_default_types(value) for name, value in fields.items() if name not in SET_BY_LRS}
    kept["id"] = str(fields.get("id", "")).lower()
    moment = instant(fields.get("timestamp"))
    if moment is not None:
        kept["timestamp"] = moment.isoformat()
    context = kept.get("context")
    activities = context.get("contextActivities") if isinstance(context, dict) else None
    if isinstance(context, dict) and isinstance(activities, dict):
        listed = {name: activity if isinstance(activity, list) else [activity] for name, activity in activities.items()}
        kept["context"] = {**context, "contextActivities": listed}
    return kept


def _without_default_types(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _without_default_types(inner)
            for name, inner in value.items()
            if not (name == "objectType" and isinstance(inner, str) and inner in DEFAULT_TYPES)
        }
    if isinstance(value, list):
        return [_without_default_types(inner) for inner in value]
    return value


def canonical(fields: Mapping[str, Any]) -> bytes:
    """The same bytes for two statements that :func:`comparable` makes equal."""
    return json.dumps(comparable(fields), sort_keys=True).encode("ascii")


def kept_by_lrs(sent: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Is ``found`` the statement that was ``sent``, as an LRS may keep it?

    It may truncate or round the seconds of a timestamp to 3 decimals or more (xAPI 1.0.3, part 2, section 4.5).
    """
    ours, theirs = comparable(sent), comparable(found)
    if ours == theirs:
        return True
    sent_at, found_at = instant(sent.get("timestamp")), instant(found.get("timestamp"))
    if "actor" not in sent or sent_at is None or found_at is None or not _is_shortened(sent_at, found_at):
        return False
    return bool({**ours, "timestamp": ""} == {**theirs, "timestamp": ""})


def _is_shortened(sent: datetime, found: datetime) -> bool:
    """Is ``found`` the time ``sent``, truncated or rounded to 3, 4 or 5 decimals of a second?"""
    lost = (sent - found) // timedelta(microseconds=1)
    return any(
        found.microsecond % unit == 0 and (0 <= lost < unit or 2 * abs(lost) <= unit) for unit in SHORTENED_MICROSECONDS
    )


def instant(text: object) -> datetime | None:
    """The time of an ISO 8601 timestamp, in UTC (also if it names no zone); ``None`` if it can't be read."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        # Overflow: in another zone, the year would be 0 or 10,000.
        return None

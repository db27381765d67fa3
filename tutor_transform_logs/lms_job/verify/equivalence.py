"""Are a statement that was sent and one that is found the same, but for what an LRS adds?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

# xAPI 1.0.3, part 2, sections 2.4.8 to 2.4.10: set by the LRS, whatever was sent.
SET_BY_LRS = frozenset({"stored", "authority", "version"})
# Part 2, sections 2.4.2 and 2.4.4: what an agent or object is that does not say it.
USUAL_TYPES = frozenset({"Agent", "Activity"})


def comparable(fields: Mapping[str, Any]) -> Any:
    """An xAPI statement or a Caliper envelope as data, without what may differ although it is the same one.

    An LRS may write a time in another form, spell out what is so by default, and make lists of single activities
    (xAPI 1.0.3, part 2, section 2.4.6.2). A Caliper envelope's ``sendTime`` says only when it was made.
    """
    if "actor" not in fields:
        return {name: value for name, value in fields.items() if name != "sendTime"}
    kept = {name: _usual(value) for name, value in fields.items() if name not in SET_BY_LRS}
    kept["id"] = str(fields.get("id", "")).lower()
    moment = instant(fields.get("timestamp"))
    if moment is not None:
        kept["timestamp"] = moment.isoformat()
    context = kept.get("context")
    activities = context.get("contextActivities") if isinstance(context, dict) else None
    if isinstance(context, dict) and isinstance(activities, dict):
        listed = {name: one if isinstance(one, list) else [one] for name, one in activities.items()}
        kept["context"] = {**context, "contextActivities": listed}
    return kept


def _usual(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _usual(one)
            for name, one in value.items()
            if not (name == "objectType" and isinstance(one, str) and one in USUAL_TYPES)
        }
    if isinstance(value, list):
        return [_usual(one) for one in value]
    return value


def canonical(fields: Mapping[str, Any]) -> bytes:
    """The same bytes for two that are the same by :func:`comparable`."""
    return json.dumps(comparable(fields), sort_keys=True).encode("ascii")


def instant(text: object) -> datetime | None:
    """The moment that an ISO 8601 timestamp names, in UTC (as which it counts without a zone); ``None`` for no time."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)

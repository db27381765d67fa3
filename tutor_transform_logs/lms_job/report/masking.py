"""Which parts of a log line anybody may see: its structure and the event's name, but no values.

By default everything is masked. Keys that tracking logs are known to have are shown, others are not: an object may
have user names for its keys. The dead letters themselves hold the whole lines, for those who may see them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MASK = "…"
ANY_TEXT, ANY_NUMBER, ANY_TRUTH = "‹text›", "‹number›", "‹true or false›"
MOST_CHARACTERS = 600
MOST_WORDS = 300
DEEPEST = 12

# Keys of tracking logs: edX Research Guide, "Events in the Tracking Logs".
_KEYS = """
accept_language agent answer answers attempts block_id body category_id category_name client_id code commentable_id
completion context correct correct_map correctness course_id course_user_tags currentTime current_tab current_time
current_url data display_name done duration enterprise_uuid event event_source event_transaction_id
event_transaction_type event_type failure GET grade group_label hint hintmode host id input_state input_type ip
item_id label letter_grade lib mode module msg name new_attempts new_grade new_score new_speed new_state new_time
new_total npoints old_attempts old_grade old_speed old_time options org_id orig_score orig_total page path
percent_grade POST problem_id problem_part_id question queuestate referer request response response_type
score seed seek_type session speed state student_answers submission success tab_count target_name target_tab
target_url team_id thread_type time timestamp title type url usage_key user_agent user_course_roles
user_forums_roles user_id username variant version weighted_earned weighted_possible widget_placement max_grade
"""
KEYS = frozenset(_KEYS.split())
# What error messages of Python and of JSON parsers put in quotes: no personal data.
_QUOTED_BY_PYTHON = "NoneType bool bytes dict float int list str tuple utf-8 , : { } [ ] none null true false"
_KNOWN_QUOTED = KEYS | frozenset(_QUOTED_BY_PYTHON.split())
_KNOWN_KEY = re.compile(r'(\\*")([A-Za-z_]+)(\\*"\s*:)')
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|`([^`]*)`")
_PERSONAL = re.compile(
    r"\S+@\S+"  # e-mail addresses
    r"|[a-z][a-z0-9+.-]*://\S+"
    r"|\b[0-9a-f]{8}-[0-9a-f-]{27}\b"  # UUIDs
    r"|\b[0-9a-fA-F]{16,}\b"  # other ids and hashes
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}"  # IP addresses
    r"|\d{4,}",
    re.IGNORECASE,
)


def mask_line(raw: bytes, event: str) -> str:
    """A log line as its shape: keys that are known, types in place of values, and ``event``, its name, if it has it."""
    text = raw.decode("utf-8", "replace")
    begin = text.find("{")
    fields = _parsed(text[begin:]) if begin >= 0 else None
    shown = _shape(text[:begin]) + _rendered(fields, event, DEEPEST) if isinstance(fields, dict) else _shape(text)
    return shown if len(shown) <= MOST_CHARACTERS else shown[:MOST_CHARACTERS] + MASK


def mask_detail(detail: str, raw: bytes, event: str) -> str:
    """An error message of ERB or of an LRS, without what it quotes from the line."""
    text = raw.decode("utf-8", "replace")
    fields = _parsed(text[max(text.find("{"), 0) :])
    values = {value.strip() for value in _values(fields, 5 * DEEPEST)} - {"", event}
    for value in sorted((value for value in values if value in detail), key=len, reverse=True):
        # One or two characters would hit the inside of every word.
        pattern = re.escape(value)
        detail = re.sub(pattern if len(value) > 3 else rf"(?<!\w){pattern}(?!\w)", MASK, detail)
    detail = _QUOTED.sub(lambda found: _masked_quote(found, event), detail)
    detail = _PERSONAL.sub(MASK, detail)
    return detail if len(detail) <= MOST_WORDS else detail[:MOST_WORDS] + MASK


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.rstrip())
    except (ValueError, RecursionError):
        return None


def _rendered(value: Any, event: str, deepest: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return ANY_TRUTH
    if isinstance(value, (int, float)):
        return ANY_NUMBER
    if isinstance(value, str):
        return _rendered_text(value, event, deepest)
    if deepest == 0:
        return MASK
    if isinstance(value, list):
        if not value:
            return "[]"
        more = f", {MASK} {len(value) - 1} more" if len(value) > 1 else ""
        return f"[{_rendered(value[0], event, deepest - 1)}{more}]"
    parts = []
    for key, inner in value.items():
        shown = key if key in KEYS else MASK
        is_name = key in ("name", "event_type") and deepest == DEEPEST and event and inner == event
        parts.append(f'"{shown}": ' + (json.dumps(event) if is_name else _rendered(inner, event, deepest - 1)))
    return "{" + ", ".join(parts) + "}"


def _rendered_text(value: str, event: str, deepest: int) -> str:
    """Text may hold JSON, as the events of browsers do."""
    if not value:
        return '""'
    inner = _parsed(value) if value.lstrip()[:1] in ("{", "[") and deepest else None
    if isinstance(inner, (dict, list)):
        return f"‹text with› {_rendered(inner, event, deepest - 1)}"
    return ANY_TEXT


def _shape(text: str) -> str:
    """Text that is not JSON: letters as x, digits as 0; its punctuation and known keys stay."""
    shown, at = [], 0
    text = text[: MOST_CHARACTERS + 1]
    for found in _KNOWN_KEY.finditer(text):
        if found[2] in KEYS:
            shown += [_characters(text[at : found.start()]), found[0]]
            at = found.end()
    return "".join([*shown, _characters(text[at:])])


def _characters(text: str) -> str:
    return "".join(_character(char) for char in text)


def _character(char: str) -> str:
    if char.isascii() and not char.isalnum():
        return char if char.isprintable() else " "
    return "0" if char.isdigit() else "x"


def _values(value: Any, deepest: int) -> Iterator[str]:
    """Every text and number in parsed JSON, and every key that is not known."""
    if deepest == 0 or value is None or isinstance(value, bool):
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in KEYS:
                yield key
            yield from _values(inner, deepest - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, deepest - 1)
    else:
        yield str(value)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            yield from _values(_parsed(value), deepest - 1)


def _masked_quote(found: re.Match[str], event: str) -> str:
    quoted = found[1] or found[2] or found[3] or ""
    if not quoted or quoted in _KNOWN_QUOTED or quoted == event:
        return found[0]
    return found[0][0] + MASK + found[0][-1]

"""Values of settings as they come from Tutor: parsed as YAML and rendered as templates.

YAML makes numbers, dates, booleans, lists and objects of text without quotes. Where the text can't be told from what
YAML made of it (83 was perhaps ``0123``), the value is refused, with the command that sets it as text.

Tutor does not render a value of YAML's type ``!!binary``. It stands here for its UTF-8 text: earlier versions of this
plugin saved text so that looks like a template, and a user can still do it.
"""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

from tutor.exceptions import TutorError

from tutor_transform_logs.lms_job.config.setting import LIST, MAPPING, TEXT, TEXTS, TIME, Setting


class AmbiguousValueError(TutorError):
    """A value that may not be what the user wrote. Its text is one line, which ends with the command that fixes it."""


class _NotText(Exception):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


def from_tutor(setting: Setting, value: Any) -> Any:
    """``value`` in types that JSON has. Raises :class:`AmbiguousValueError`."""
    convert = {TEXT: _text, TEXTS: _text_or_list, TIME: _time, LIST: _texts, MAPPING: _members}.get(
        setting.kind, _members
    )
    try:
        return convert(value)
    except _NotText as error:
        found = _type_name(error.value)
        if not setting.is_hidden:
            found += f" ({json.dumps(error.value, default=str)})"
        raise AmbiguousValueError(
            f"{setting.name}: YAML reads {found} where text is wanted. Put the text in quotes. "
            f"{_fix(setting, error.value)}"
        ) from None
    except UnicodeDecodeError:
        raise AmbiguousValueError(f"{setting.name}: The !!binary value is not UTF-8. {_fix(setting, None)}") from None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    raise _NotText(value)


def _text_or_list(value: Any) -> Any:
    return [_text(item) for item in value] if isinstance(value, list) else _text(value)


def _time(value: Any) -> str | None:
    """A time may be a date of YAML or the number of a year: no other text makes the same."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _texts(value: Any) -> Any:
    """Text, or a list of texts or of objects whose members are text."""
    if isinstance(value, dict):
        return {str(key): _texts(item) for key, item in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list) else _text(value)


def _members(value: Any) -> Any:
    """Any value of JSON; numbers and booleans are meant as such."""
    if isinstance(value, dict):
        return {str(key): _members(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_members(item) for item in value]
    if isinstance(value, (bool, int, float)):
        return value
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return value.isoformat() if is_date else _text(value)


def _type_name(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, datetime.date):
        return "a date"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a {type(value).__name__}"


def _fix(setting: Setting, value: object) -> str:
    """What to do. The text is shown where it is known for sure: a date is written in one way only."""
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    text = f'"{value}"' if is_date and not setting.is_hidden else '"..."'
    if setting.key == "lrs_endpoints":
        text = '[{"url": "...", "username": "...", "password": "..."}]'
    else:
        text = {LIST: f"[{text}]", MAPPING: f'{{"...": {text}}}'}.get(setting.kind, text)
    variable = f"TUTOR_{setting.name}"
    if variable in os.environ:
        return f"Set the variable: {variable}='{text}'"
    return f"Run: tutor config save --set '{setting.name}={text}'"

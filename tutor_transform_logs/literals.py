"""Values that a user gives are literal: what ``tutor config save --set`` is told is what the job gets.

Tutor would not have it so. It parses what follows ``--set KEY=`` as YAML (``0123`` is 83, ``a #b`` is ``a``), renders
it as a Jinja template when it saves it, and renders what it finds in config.yml again, before any plugin is loaded,
every time it starts: a secret that holds ``{{x}}`` would end every later command. YAML's ``!!binary`` is the one kind
of value that Tutor passes through untouched, so text that is more than plain is kept so. It reads like this::

    TRANSFORM_LOGS_SOURCE_SECRET: !!binary |
      czNjciR0Int7eH19
"""

from __future__ import annotations

import copy
import datetime
import json
from typing import Any

import click
import yaml
from tutor.types import Config

from tutor_transform_logs.settings import BY_NAME, LIST, MAPPING, TEXT, Setting


def is_template(text: str) -> bool:
    """Would Jinja find something to do in ``text``?"""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def parse(setting: Setting, text: str) -> Any:
    """The value that ``text`` (after ``--set KEY=``, or of an environment variable) gives to ``setting``.

    Text is taken as it stands, except that one pair of YAML quotes around all of it is taken off, as Tutor does.
    Numbers, flags, lists and objects are YAML, and so may be JSON; what can't be read is left for the check to refuse.
    """
    if setting.kind == TEXT:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        value = _yaml(text) if quoted else text
        return value if isinstance(value, str) else text
    if setting.kind in (LIST, MAPPING):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return _yaml(text) if text else ""


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def protect(value: Any) -> Any:
    """``value`` in a form that comes back from config.yml unharmed, whatever Tutor does to templates."""
    if isinstance(value, str):
        return value if value.isprintable() and not is_template(value) else value.encode()
    if isinstance(value, dict):
        return {key: protect(item) for key, item in value.items()}
    if isinstance(value, list):
        return [protect(item) for item in value]
    return value


def reveal(value: Any) -> Any:
    """The reverse of :func:`protect`, for JSON: dates, which YAML makes of unquoted text, are text again.

    Raises ``ValueError`` for a value that has no place in JSON.
    """
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ValueError(f"a {type(value).__name__} can't be used")


class LiteralValues(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """The type of ``config save --set``: values of this plugin's settings are literal, all others Tutor's affair."""

    def __init__(self, tutors: click.ParamType) -> None:  # type: ignore[type-arg,unused-ignore]
        self.tutors = tutors
        self.name = tutors.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, text = str(value).partition("=")
        setting = BY_NAME.get(name)
        if not equals or setting is None or setting.rendered:
            return self.tutors.convert(value, param, ctx)
        return name, protect(parse(setting, text))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        return self.tutors.shell_complete(ctx, param, incomplete)


def take_set_literally(commands: list[click.Command]) -> list[click.Command]:
    """Filter of Tutor's CLI_COMMANDS: a ``config`` command whose ``save --set`` takes our values as they stand.

    Tutor's own command objects are copied, not changed.
    """
    return [_literal_config(command) if command.name == "config" else command for command in commands]


def _literal_config(command: click.Command) -> click.Command:
    if not isinstance(command, click.Group) or "save" not in command.commands:
        return command
    save = command.commands["save"]
    literal = copy.copy(save)
    literal.params = [copy.copy(param) for param in save.params]
    for param in literal.params:
        if param.name == "set_vars":
            param.type = LiteralValues(param.type)
    group = copy.copy(command)
    group.commands = {**group.commands, "save": literal}
    return group


def read_saved(setting: Setting, saved: Config, rendered: Config) -> Any:
    """The value of ``setting`` in ``saved``, the user's config as it stands in config.yml.

    A template can stand there only if it was written by hand, and Tutor would put the rendered text in its place at the
    next ``config save``; so it is taken from ``rendered``, and means the same before and after.
    """
    value = saved[setting.name]
    written_by_hand = isinstance(value, (str, dict, list)) and is_template(str(value))
    return reveal(rendered[setting.name] if written_by_hand else value)

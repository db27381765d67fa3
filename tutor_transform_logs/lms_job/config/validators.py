"""Checks of single values of the config file. Each returns the value as it is meant, or says what is allowed.

The host runs the same checks before it starts a container, so this module needs nothing but the standard library.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from ..util import timetable
from ..util.iso_times import period
from ..util.relative_times import relative_period
from ..util.run_summary import is_url

ALLOWED = (
    "a date or time of ISO 8601, such as 2026-01-31 or 2026-01-31T18:00:00+01:00; without an offset it is UTC; or 7d, "
    "2w, 12h (ago), today, yesterday"
)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)

# Python takes time with the square of the length to read some patterns. No name of an object is longer.
MAX_PATTERN = 4096


class ConfigError(Exception):
    """A value of the config that can't be used.

    ``key`` is the config key, ``problem`` says what is wrong with which value, ``allowed`` what is allowed. A value
    that may be a secret is never part of ``problem``.
    """

    def __init__(self, key: str, problem: str, allowed: str) -> None:
        super().__init__(key, problem, allowed)
        self.key = key
        self.problem = problem
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}; allowed: {self.allowed}"


def shown(value: object) -> str:
    """``value`` as it may be printed in an error: as JSON, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


Validator = Callable[[str, Any], Any]


def text(key: str, value: Any) -> str:
    """Text, or a whole number of JSON; any other number may have been written in another way."""
    return _encodable(key, value, "strict")


def name_on_disk(key: str, value: Any) -> str:
    """Text that may be a part of a path. There, bytes that are not UTF-8 are lone low surrogates."""
    return _encodable(key, value, "surrogateescape")


def names_on_disk(key: str, value: Any) -> str | tuple[str, ...]:
    """As :func:`name_on_disk`, or a list of several."""
    if not isinstance(value, (list, tuple)):
        return name_on_disk(key, value)
    if not value:
        raise ConfigError(key, "the list is empty", "text, or a list of one text or more")
    return tuple(name_on_disk(key, each) for each in value)


def _encodable(key: str, value: Any, errors: str) -> str:
    written = _any_text(key, value)
    if "\0" in written or not _is_encodable(written, errors):
        raise ConfigError(key, "the value has a NUL or half a surrogate pair in it", "text")
    return written


def _any_text(key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ConfigError(key, "the value is not text", "text")
    return str(value)


def _is_encodable(value: str, errors: str = "strict") -> bool:
    """Has it bytes in UTF-8? ``errors``: how to encode it."""
    try:
        value.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def header_text(key: str, value: Any) -> str:
    """Text that goes into an HTTP header as it is. Libraries repeat a header that they can't send in their errors."""
    checked = _any_text(key, value)
    if not (checked.isascii() and checked.isprintable()):
        raise ConfigError(
            key, "the value has a line end or a character that HTTP headers can't have", "printable ASCII characters"
        )
    return checked


def one_line(key: str, value: Any) -> str:
    """Text of printable characters: an access key ID goes into headers, too, and a path has no others."""
    checked = text(key, value)
    if not checked.isprintable():
        raise ConfigError(key, "the value has a line break or another control character", "printable text")
    return checked


def host(key: str, value: Any) -> str:
    """A host's name or address, or nothing. What else a URL has may be a password: it is not repeated."""
    checked = one_line(key, value)
    if re.search(r"[@/\\?#\s]", checked):
        raise ConfigError(
            key, "the value is not a host", "a host's name or address, without http://, a user name and a path"
        )
    return checked


def user_name(key: str, value: Any) -> str:
    """A user of HTTP Basic authentication (RFC 7617, section 2: it ends at the first colon)."""
    checked = text(key, value)
    if ":" in checked:
        raise ConfigError(key, "the user name has a colon, which HTTP Basic can't send", "a user name without a colon")
    return checked


def boolean(key: str, value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ConfigError(key, f"{shown(value)} is neither true nor false", "true or false")
    return value


def whole(least: int, most: int | None = None) -> Validator:
    allowed = f"a whole number, at least {least}" + ("" if most is None else f" and at most {most}")

    def check(key: str, value: Any) -> int:
        if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > most):
            raise ConfigError(key, f"{shown(value)} can't be used", allowed)
        return int(value)

    return check


def whole_or(word: str, least: int) -> Validator:
    """``word``, or a whole number."""
    number = whole(least)

    def check(key: str, value: Any) -> int | str:
        if value == word:
            return word
        try:
            return int(number(key, value))
        except ConfigError as error:
            raise ConfigError(key, error.problem, f'{error.allowed}, or "{word}"') from None

    return check


def number(key: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ConfigError(key, f"{shown(value)} can't be used", "a number, 0 or more")
    return number


def share(key: str, value: Any) -> float:
    """From 0 to 1."""
    try:
        checked = number(key, value)
    except ConfigError:
        checked = math.inf
    if checked > 1:
        raise ConfigError(key, f"{shown(value)} can't be used", "a number from 0 to 1")
    return checked


def count_or_percentage(key: str, value: Any) -> str:
    """A whole number, or a percentage such as 5%, as text; ``""`` for none."""
    text = str(value).strip()
    if text and not re.fullmatch(r"\d{1,15}|\d{1,2}(\.\d+)?%|100%", text):
        raise ConfigError(key, f"{shown(value)} can't be used", "a whole number, or a percentage such as 5%")
    return text


def duration(key: str, value: Any) -> float:
    """A time that something may take, in seconds: a number of them, or text such as 6h, 90m, 1h30m."""
    found = _DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is not None and found[0]:
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds
    try:
        return number(key, value)
    except ConfigError as error:
        raise ConfigError(key, error.problem, "a time such as 6h, 90m or 1h30m, or a number of seconds") from None


def rate(key: str, value: Any) -> float | timetable.Timetable:
    """A number of events per second, or a timetable of such numbers."""
    try:
        if isinstance(value, str) and "," in value:
            return timetable.parse(value)
        return number(key, value)
    except (ConfigError, ValueError):
        raise ConfigError(key, f"{shown(value)} can't be used", timetable.RATES) from None


def one_of(*choices: str) -> Validator:
    def check(key: str, value: Any) -> str:
        if value not in choices:
            raise ConfigError(key, f"{shown(value)} is not known", " or ".join(choices))
        return str(value)

    return check


def from_json(key: str, value: Any, kind: str) -> Any:
    """A structured value may come as JSON text; its text may hold a secret and is never shown."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ConfigError(key, f"the text can't be read as JSON ({error})", kind) from None


def mapping(key: str, value: Any) -> dict[str, Any]:
    value = from_json(key, value, "a JSON object") if value != "" else {}
    if not isinstance(value, Mapping):
        raise ConfigError(key, "the value is not an object", "a JSON object")
    return dict(value)


def urls(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = from_json(key, value, "a JSON list of URLs") if value.lstrip().startswith("[") else value.split()
    if not isinstance(value, (list, tuple)):
        raise ConfigError(key, "the value is not a list", "a list of URLs")
    return tuple(url(key, item) for item in value)


def patterns(key: str, value: Any) -> tuple[str, ...]:
    """Globs: a list, or text with one or several of them that have no white space."""
    allowed = "a list of patterns such as edx.video.*"
    if isinstance(value, str):
        value = from_json(key, value, allowed) if value.startswith("[") and value.endswith("]") else value.split()
    if not isinstance(value, (list, tuple)):
        raise ConfigError(key, "the value is not a list", allowed)
    for pattern in value:
        if not isinstance(pattern, str) or not pattern:
            raise ConfigError(key, f"{shown(pattern)} is not a pattern", allowed)
        if len(pattern) > MAX_PATTERN:
            raise ConfigError(
                key,
                f"a pattern has {len(pattern):,} characters",
                f"patterns of up to {MAX_PATTERN:,} characters",
            )
    return tuple(value)


def url(key: str, value: Any) -> str:
    allowed = "a URL that begins with http:// or https://"
    if not isinstance(value, str):
        raise ConfigError(key, f"{shown(value)} is not a URL", allowed)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        usable = usable and _is_encodable(value)
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable:
        # A URL can hold a password (https://user:password@host): one that can't be read is not repeated, nor a query.
        without_query = re.split("[?#]", value)[0]
        problem = "the URL can't be read" if "@" in value else f"{shown(without_query)} is not a URL"
        raise ConfigError(key, problem, allowed)
    if parts.username or parts.password:
        raise ConfigError(key, "the URL holds a user name or password", f"{allowed}, credentials in their own fields")
    return value


def notified(key: str, value: Any) -> str:
    """A URL or a shell command, or nothing. Either may hold a secret (a webhook's URL is one), and is not repeated."""
    checked = text(key, value).strip()
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", checked)
    if scheme and not (is_url(checked) and _has_host(checked)):
        raise ConfigError(
            key, "the value is a URL that can't be used", "a command, or a URL that begins with http:// or https://"
        )
    return checked


def _has_host(value: str) -> bool:
    try:
        return bool(urlsplit(value).hostname) and (urlsplit(value).port or 1) > 0
    except ValueError:
        return False


def metrics_file(key: str, value: Any) -> str:
    """An absolute path, or nothing. node_exporter reads files with this ending alone."""
    checked = name_on_disk(key, value)
    if checked and not (checked.startswith("/") and re.fullmatch(r"[^/]+\.prom", checked.rpartition("/")[2])):
        raise ConfigError(
            key, f"{shown(checked)} can't be used", "an absolute path in the job's container that ends in .prom"
        )
    return checked


def server_url(key: str, value: Any) -> str:
    """A URL without a query, or nothing. ClickHouse would take a user name and a password from the query."""
    if value == "":
        return ""
    checked = url(key, value)
    if urlsplit(checked).query or urlsplit(checked).fragment:
        raise ConfigError(key, "the URL has a query or a fragment", "a URL that ends with the port or a path")
    return checked


@dataclass(frozen=True)
class Endpoint:
    """An LRS named in the settings: the URL of its xAPI (or Caliper) resource and Basic or Bearer credentials."""

    url: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)


def endpoints(key: str, value: Any) -> tuple[Endpoint, ...]:
    allowed = 'a list of {"url", "username", "password"} or {"url", "bearer"}'
    value = from_json(key, value, allowed) if value != "" else []
    if not isinstance(value, (list, tuple)):
        raise ConfigError(key, "the value is not a list", allowed)
    result = []
    accounts: dict[tuple[str, str], int] = {}
    for number, item in enumerate(value, 1):
        if not isinstance(item, Mapping) or "url" not in item:
            raise ConfigError(key, f'entry {number} has no "url"', allowed)
        unknown = sorted(set(map(str, item)) - {"url", "username", "password", "bearer"})
        if unknown:
            raise ConfigError(key, f"entry {number} has the unknown field {shown(unknown[0])}", allowed)
        if item.get("bearer") and (item.get("username") or item.get("password")):
            raise ConfigError(key, f"entry {number} has both a bearer token and a user name or password", allowed)
        checks = {"username": text, "password": text, "bearer": header_text}
        texts = {name: check(key, item[name]) for name, check in checks.items() if item.get(name) is not None}
        endpoint = Endpoint(url=url(key, item["url"]), **texts)
        # By these, the ledger tells destinations apart.
        same = accounts.setdefault((endpoint.url.rstrip("/"), endpoint.username), number)
        if same != number:
            user = f"the user name {shown(endpoint.username)}" if endpoint.username else "no user name"
            raise ConfigError(
                key,
                f"the entries {same} and {number} have the same URL and {user}, so that they count as one LRS; "
                "other passwords and bearer tokens make no difference",
                "each LRS once, or a user name of its own for each entry",
            )
        result.append(endpoint)
    return tuple(result)


def since(key: str, value: Any) -> datetime:
    """The check of a time to begin at: a date's first moment."""
    return _period(key, value)[0]


def until(key: str, value: Any) -> datetime:
    """The check of a time to end before: a date counts whole."""
    return _period(key, value)[1]


def _period(key: str, value: Any) -> tuple[datetime, datetime]:
    written = text(key, value)
    try:
        return relative_period(written, datetime.now(timezone.utc)) or period(written)
    except (ValueError, OverflowError):
        raise ConfigError(key, f"{shown(written)} is not a date or time", ALLOWED) from None

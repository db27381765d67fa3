"""Masks secrets in texts from outside: a server or a proxy may repeat the request that it got, with its headers."""

from __future__ import annotations

import base64
import html
import html.entities
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

STARS = "***"
# A secret of at most this many characters is also a part of other texts, and masking it there would only spoil them.
SHORT = 3


_known: set[str] = set()
"""Every secret that this process, or one that it was forked from, has used."""


def masked(text: str, secrets: Iterable[str]) -> str:
    """``text`` without ``secrets``: the longest first, because one may be a part of another.

    A short one is masked where it stands by itself, as a user name, a password or a header's value does wherever one
    is repeated. Inside a word it can't be told from the word.
    """
    for secret in sorted({*secrets} - {""}, key=len, reverse=True):
        text = text.replace(secret, STARS) if len(secret) > SHORT else _by_itself(secret).sub(STARS, text)
    return text


def _by_itself(secret: str) -> re.Pattern[str]:
    """``secret`` with no letter or digit beside it."""
    return re.compile(_alone(re.escape(secret)))


def _alone(pattern: str) -> str:
    """``pattern`` with no letter or digit beside it; an escape of JSON, Python or a URL before it is neither."""
    before = r"(?:(?<![^\W_])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
    return rf"{before}(?:{pattern})(?![^\W_])"


@lru_cache(maxsize=256)
def _escaped(secret: str) -> re.Pattern[str]:
    """``secret``, or base64 of it, with any of its characters escaped in any way, up to twice.

    Each server has a way of its own: Go's JSON escapes ``&``, PHP and Express have other numbers for a quote.
    """
    raw = secret.encode("utf-8", "surrogatepass")
    encoded = (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode())
    forms = {secret, raw.decode("latin-1"), *(form.rstrip("=") for form in encoded)}
    patterns = []
    for form in sorted(forms, key=len, reverse=True):
        pattern = "".join(_escaped_run(run[0]) for run in _RUN.finditer(form))
        patterns.append(pattern if len(form) > SHORT else _alone(pattern))
    return re.compile("|".join(patterns))


# Backslashes in a row are one thing: how many of them an escape has made can't be told.
_RUN = re.compile(r"\\+|[A-Za-z0-9]+|.", re.DOTALL)
_BACKSLASH = r"\\\\{0,3}"
_AMPERSAND = rf"(?:&|{_BACKSLASH}u0026)(?:amp;|#0*38;|#[xX]0*26;){{0,2}}"
_PERCENT = "%(?:25){0,2}"
_NAMES: dict[str, list[str]] = {}
for _name, _character in html.entities.html5.items():
    if _name.endswith(";"):
        _NAMES.setdefault(_character, []).append(_name)


def _escaped_run(run: str) -> str:
    """A pattern for one character, some backslashes, or letters and digits, which nothing escapes."""
    if run.isascii() and run.isalnum():
        return run
    any_form = "|".join((*_escapes(run[0]), _literal(run[0])))
    if run[0] == "\\":
        # Twice escaped, each is four of them.
        return rf"(?:\\{{{len(run)},{4 * len(run)}}}|(?:{any_form}){{{len(run)}}})"
    return f"(?:{any_form})"


def _literal(character: str) -> str:
    """The character itself, with or without backslashes before it."""
    if character == "\\":
        return _BACKSLASH
    if character == " ":
        return r"[ +]"
    return rf"{_BACKSLASH}{re.escape(character)}|{re.escape(character)}"


def _escapes(character: str) -> Iterator[str]:
    """How HTML, URLs, JSON and Python may escape a character."""
    number = ord(character)
    raw = character.encode("utf-8", "surrogatepass")
    names = "|".join(map(re.escape, _NAMES.get(character, ())))
    # Behind a backslash: JSON in a page of HTML.
    yield rf"(?:{_BACKSLASH})?{_AMPERSAND}(?:#0*{number};|#[xX]0*(?i:{number:x});{f'|{names}' if names else ''})"
    yield "".join(f"{_PERCENT}(?i:{byte:02x})" for byte in raw)
    units = character.encode("utf-16-be", "surrogatepass").hex()
    yield "".join(f"{_BACKSLASH}u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))
    yield "".join(f"{_BACKSLASH}x(?i:{byte:02x})" for byte in raw)
    if character in _CONTROLS:
        yield _BACKSLASH + _CONTROLS[character]
    if character == "&":
        yield _AMPERSAND


_CONTROLS = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


def remember(secrets: Iterable[str]) -> None:
    """Hide these in texts that come by ways of which nobody knows what was sent: warnings of libraries, tracebacks."""
    _known.update(filter(None, secrets))


def hide_known(text: str) -> str:
    """``text`` without any secret that was remembered."""
    return hide(text, _known)


def hide(text: str, secrets: Iterable[str]) -> str:
    """``text`` with :data:`STARS` in place of each of ``secrets``, in whatever form it has them."""
    for secret in sorted({*secrets} - {""}, key=len, reverse=True):
        text = masked(_escaped(secret).sub(STARS, text), _forms(secret))
    return text


def basic_credentials(username: str, password: str) -> str:
    """What HTTP Basic sends, but for its base64, which :func:`hide` knows."""
    return f"{username}:{password}"


@lru_cache(maxsize=256)
def _forms(secret: str) -> frozenset[str]:
    """How a text may have a secret: quoted up to twice, as JSON in a page of HTML, or in base64."""
    raw = secret.encode("utf-8", "surrogatepass")
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    # Read as Latin-1, as HTTP's headers are.
    plain = {secret, raw.decode("latin-1")}
    quoted = {form for each in plain for form in _quoted(each)}
    twice = {form for each in quoted for form in _quoted(each)}
    # Base64 without the "=" at its end is a part of that with it.
    return frozenset({*plain, *quoted, *twice, *(form.rstrip("=") for form in encoded)} - {""})


def _quoted(text: str) -> set[str]:
    in_json = json.dumps(text)[1:-1]
    return {
        text,
        in_json,
        json.dumps(text, ensure_ascii=False)[1:-1],
        in_json.replace("/", "\\/"),
        repr(text)[1:-1],
        repr(text.encode("utf-8", "surrogatepass"))[2:-1],
        html.escape(text),
        html.escape(text, quote=False),
        quote(text, safe="", errors="surrogatepass"),
        quote(text, errors="surrogatepass"),
        quote_plus(text, errors="surrogatepass"),
    }

"""Masks secrets in texts from outside: a server or a proxy may repeat the request that it got, with its headers."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
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
    """``secret`` with no letter or digit beside it; an escape of JSON, Python or a URL before it is neither."""
    return re.compile(rf"(?:(?<![^\W_])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{{2}})){re.escape(secret)}(?![^\W_])")


def remember(secrets: Iterable[str]) -> None:
    """Hide these in texts that come by ways of which nobody knows what was sent: warnings of libraries, tracebacks."""
    _known.update(filter(None, secrets))


def hide_known(text: str) -> str:
    """``text`` without any secret that was remembered."""
    return hide(text, _known)


def hide(text: str, secrets: Iterable[str]) -> str:
    """``text`` with :data:`STARS` in place of each of ``secrets``, in whatever form it has them."""
    return masked(text, {form for secret in secrets if secret for form in _forms(secret)})


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

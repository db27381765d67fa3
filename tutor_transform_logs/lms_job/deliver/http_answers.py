"""Reading what an HTTP server answers, whatever server it is: its text, its redirect, what failed. Pure functions."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import requests

from ..util.contact import why_unreachable
from ..util.formatting import printable, shown_url
from ..util.secrets import hide

MAX_QUOTED = 300
PLAIN_HEADERS = frozenset(
    (
        "accept", "accept-encoding", "accept-language", "connection", "content-encoding", "content-length",
        "content-type", "host", "transfer-encoding", "user-agent", "x-experience-api-version",
    )
)  # fmt: skip
"""Headers of a request, in lower case, that hold no secret. Others are a router's own, and may be credentials."""


def body_text(response: requests.Response) -> str:
    """The body of an answer, whatever its header says of the charset."""
    try:
        return response.text
    except ValueError:
        # Of a charset that Python has a codec for, but none that reads text; or one with a NUL in its name.
        return response.content.decode("utf-8", "replace")


def status_and_text(response: requests.Response) -> str:
    """The status of an answer and the beginning of its text, on one line of a terminal."""
    # Masked before it is cut: a part of a secret would not be found.
    text = printable(" ".join(masked(body_text(response), response.request)[:2000].split()))
    return f"{response.status_code}: {text[:MAX_QUOTED]}" if text else str(response.status_code)


def masked(text: str, request: requests.PreparedRequest | None) -> str:
    """A text from outside without the secrets of the ``request`` that it came for."""
    return hide(text, secrets_of(request.headers) if request is not None else ())


def secrets_of(headers: Mapping[str, Any]) -> set[str]:
    """The credentials in the headers of a request, and the values of those that are of a router's own."""
    secrets = set()
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if name.lower() in PLAIN_HEADERS:
            continue
        scheme, _, credentials = text.partition(" ")
        found = {text, credentials.strip()}
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                pair = base64.b64decode(credentials).decode("utf-8", "replace")
                password = pair.partition(":")[2]
                # Without a password, none of it is a secret.
                found = found | {pair, password} if password else set()
        secrets |= found
    return secrets - {""}


def content_type(response: requests.Response) -> str:
    """What an answer says that its body is."""
    return printable(masked(response.headers.get("Content-Type", "no content type"), response.request))[:MAX_QUOTED]


def redirect_target(response: requests.Response) -> str:
    """Where an answer redirects to, as it may be printed; empty if it does not say so."""
    location = response.headers.get("Location", "")
    try:
        # It may be relative (RFC 9110, 10.2.2).
        target = shown_url(urljoin(response.url or "", location)) if location else ""
    except ValueError:
        return ""
    return printable(masked(target, response.request))[:MAX_QUOTED]


def speaks_no_tls(error: requests.exceptions.SSLError) -> bool:
    """Has the server answered a TLS handshake with something else? OpenSSL's text for it varies by version."""
    return re.search("WRONG_VERSION_NUMBER|record layer failure|UNKNOWN_PROTOCOL", str(error)) is not None


def innermost_cause(error: Exception) -> str:
    """The innermost reason of a requests error, which is wrapped three deep and names the object's address."""
    if plain := why_unreachable(error):
        return plain
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    text = str(inner).rpartition("object at 0x")[2].partition(">: ")[2] or str(inner)
    # It may quote what a server has sent in place of an answer.
    text = masked(text, getattr(error, "request", None))
    return printable(f"{type(inner).__name__}: {text}")[:MAX_QUOTED]


def retry_after(value: str, now: float | None = None) -> float:
    """Seconds to wait by a ``Retry-After`` header (RFC 9110, 10.2.3: seconds or a date); 0.0 if it says nothing."""
    value = value.strip()
    if value.isdecimal():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return max(0.0, at - (time.time() if now is None else now))

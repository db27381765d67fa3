"""Reading what an HTTP server answers, whatever server it is: its text, its redirect, what failed. Pure functions."""

from __future__ import annotations

import base64
import email.utils
import json
import re
import time
from urllib.parse import urljoin

import requests

from ..util.contact import why_unreachable
from ..util.formatting import printable, shown_url
from ..util.secrets import masked

MAX_QUOTED = 300


def body_text(response: requests.Response) -> str:
    """The body of an answer, whatever its header says of the charset."""
    try:
        return response.text
    except UnicodeError:
        # Of a charset that Python has a codec for, but none that reads text.
        return response.content.decode("utf-8", "replace")


def status_and_text(response: requests.Response) -> str:
    """The status of an answer and the beginning of its text, on one line of a terminal."""
    # Masked before it is cut: a part of a secret would not be found.
    text = printable(" ".join(_masked(response)[:2000].split()))
    return f"{response.status_code}: {text[:MAX_QUOTED]}" if text else str(response.status_code)


def _masked(response: requests.Response) -> str:
    """The body without the credentials of its request: a server or a proxy may repeat the headers that it got."""
    text = body_text(response)
    header = response.request.headers.get("Authorization", "") if response.request is not None else ""
    scheme, _, credentials = str(header).partition(" ")
    secrets = {credentials, base64.b64encode(credentials.encode()).decode()}
    if scheme == "Basic":
        password = base64.b64decode(credentials).partition(b":")[2]
        secrets |= {password.decode("utf-8", "replace"), base64.b64encode(password).decode()}
    return masked(text, secrets | {json.dumps(secret)[1:-1] for secret in secrets})


def content_type(response: requests.Response) -> str:
    """What an answer says that its body is."""
    return printable(response.headers.get("Content-Type", "no content type"))


def redirect_target(response: requests.Response) -> str:
    """Where an answer redirects to, as it may be printed; empty if it does not say so."""
    location = response.headers.get("Location", "")
    try:
        # It may be relative (RFC 9110, 10.2.2).
        return printable(shown_url(urljoin(response.url or "", location))) if location else ""
    except ValueError:
        return ""


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
    return f"{type(inner).__name__}: {text}"[:MAX_QUOTED]


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

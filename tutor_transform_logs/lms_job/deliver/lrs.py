"""Delivery over HTTP: xAPI statements to an LRS, Caliper envelopes to a Caliper endpoint."""

from __future__ import annotations

import email.utils
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from ..model import dead_letters
from ..model.delivery import Outcome, OutgoingStatement, Rejection, SourcedStatement
from ..util.backoff import retrying
from ..util.errors import PermanentError, TransientError
from ..util.formatting import printable, shown_url

# xAPI 1.0.3, part 3, section 3.3: every request names the version that it speaks.
XAPI_VERSION = "1.0.3"
CONNECT_TIMEOUT = 10.0
REJECTING = {
    400: dead_letters.INVALID,
    409: dead_letters.CONFLICT,
    413: dead_letters.TOO_LARGE,
    422: dead_letters.INVALID,
}
"""Statuses that blame the batch, and the reason that a dead letter then has."""
BUSY = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed later."""

# (event) -> (does the router accept it, fields to overwrite): ERB's match_params and override_args.
Routing = Callable[[Mapping[str, Any]], "tuple[bool, Mapping[str, Any]]"]


def to_all(_event: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any]]:
    """The routing of an endpoint that takes every event as it is."""
    return True, {}


@dataclass(frozen=True)
class Target:
    """An endpoint: its URL, what it accepts, its credentials."""

    url: str
    transformer_type: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    routing: Routing = to_all


class _BatchRejected(Exception):
    """The endpoint rejects the batch because of one or more of its statements."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class Lrs:
    """One endpoint over one kept-alive session."""

    def __init__(self, target: Target, timeout_secs: float, max_wait_secs: float, batch_max_bytes: int) -> None:
        self.target = target
        self._timeout = (min(CONNECT_TIMEOUT, timeout_secs), timeout_secs)
        self._max_wait_secs = max_wait_secs
        self._max_bytes = batch_max_bytes
        self._url = _resource(target)
        self.name = shown_url(self._url)
        # Two accounts at one URL are two destinations: each may have a store of its own behind it.
        account = f"{target.url.rstrip('/')} {target.username}".rstrip()
        self.id = "lrs-" + hashlib.sha256(account.encode()).hexdigest()[:10]
        self._session = requests.Session()
        self._session.auth = _auth(target)
        self._session.headers.update(target.headers)
        self._session.headers["Content-Type"] = "application/json"
        if target.transformer_type == "xapi":
            self._session.headers["X-Experience-API-Version"] = XAPI_VERSION

    def route(self, made: SourcedStatement) -> bytes | None:
        matches, overrides = self.target.routing(made.event.fields)
        if not matches:
            return None
        if not overrides:
            return made.statement.body
        return _dumps(dict(made.statement.fields) | dict(overrides))

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        outcome = Outcome()
        self._deliver(self._distinct(outgoing, outcome), outcome)
        return outcome

    def probe(self) -> str:
        """Describe what the endpoint answers to a request that changes nothing; one try.

        xAPI: a GET of one statement, which tries the credentials. Caliper has no such request: a HEAD shows only that
        a server answers. Raises :class:`~.errors.JobError` for an answer that would end a run.
        """
        xapi = self.target.transformer_type == "xapi"
        method, query = (self._session.get, {"limit": "1"}) if xapi else (self._session.head, {})
        send = partial(method, self._url, params=query, timeout=self._timeout, allow_redirects=False)
        try:
            response = self._request(send, self._check_taken if xapi else self._check_credentials, 0.0)
        except _BatchRejected as rejected:
            raise PermanentError(f"{self.name} answers {rejected.detail}: check its URL.") from None
        if not xapi:
            status = response.status_code
            return f"answers ({status}); Caliper has no way to try the credentials without sending an event"
        if b'"statements"' not in response.content:
            status = response.status_code
            raise PermanentError(
                f"{self.name} answers {status}, but without statements: this is not an LRS. Check its URL."
            )
        return "answers, and accepts the credentials"

    def _check_credentials(self, response: requests.Response) -> None:
        """Any other answer to HEAD shows that a server is there; not all servers know HEAD."""
        if response.status_code in (401, 403):
            raise self._permanent(response)

    def _failed(self, error: requests.RequestException | ValueError) -> PermanentError | TransientError:
        """The job's error for a request that got no answer."""
        if isinstance(error, requests.exceptions.SSLError):
            return PermanentError(
                f"{self.name}: the TLS certificate is not trusted ({innermost_cause(error)}). Fix the certificate, or "
                "use the host name that it was issued for."
            )
        if isinstance(error, ValueError):
            # InvalidURL and InvalidHeader among them. Not repeated: a header's value may be a secret.
            return PermanentError(f"{self.name} can't be used ({type(error).__name__}): check its URL and credentials.")
        return TransientError(f"{self.name} does not answer ({innermost_cause(error)})")

    def _distinct(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> list[OutgoingStatement]:
        """Equal statements are sent once; another statement with the id of one before it is a conflict."""
        first: dict[str, OutgoingStatement] = {}
        for statement in outgoing:
            known = first.setdefault(statement.id, statement)
            if known is statement:
                continue
            if _same(known, statement):
                outcome.duplicates += 1
            else:
                detail = f"line {known.made.line.number} of the same log gives another statement with this id"
                outcome.rejected.append(Rejection(statement, dead_letters.CONFLICT, detail))
        return list(first.values())

    def _deliver(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> None:
        """Send ``outgoing``; in halves if the endpoint rejects one of them or does not take a body of their size."""
        if not outgoing:
            return
        size = sum(len(statement.body) + 1 for statement in outgoing)
        if len(outgoing) == 1 or size <= self._max_bytes:
            try:
                self._count(self._post(outgoing), outgoing, outcome)
                return
            except _BatchRejected as rejected:
                if rejected.status == 413 and len(outgoing) > 1:
                    # A body of this size would be refused again: later batches are cut before they are sent.
                    self._max_bytes = max(size // 2, 1)
                if len(outgoing) == 1:
                    outcome.rejected.append(Rejection(outgoing[0], REJECTING[rejected.status], rejected.detail))
                    return
        middle = len(outgoing) // 2
        self._deliver(outgoing[:middle], outcome)
        self._deliver(outgoing[middle:], outcome)

    def _count(self, response: requests.Response, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> None:
        """Count what the endpoint says it stored (xAPI 1.0.3, part 3, section 2.1.2: the ids of the new ones).

        Raises :class:`~.errors.PermanentError` for an answer that no LRS gives: nothing may be stored there.
        """
        if self.target.transformer_type != "xapi":
            outcome.stored += len(outgoing)
            return
        new_ids: set[str] = set()
        if response.status_code != 204:
            try:
                ids = response.json()
            except (ValueError, RecursionError):
                ids = None
            sent = {statement.id.lower() for statement in outgoing}
            # None new: that says only 200. A request that was no more than accepted (202) has no ids yet.
            is_list = isinstance(ids, list) and (ids or response.status_code == 200)
            new_ids = {str(statement_id).lower() for statement_id in ids} if is_list else {""}
            if new_ids - sent:
                kind = printable(response.headers.get("Content-Type", "no content type"))
                raise PermanentError(
                    f"{self.name} answers {response.status_code}, but with {kind} and not with a list of the ids that "
                    "were sent: this is not an LRS. Check its URL."
                )
        stored = len(new_ids)
        outcome.stored += stored
        outcome.duplicates += len(outgoing) - stored

    def _post(self, outgoing: Sequence[OutgoingStatement]) -> requests.Response:
        """One POST, with retries. Raises :class:`_BatchRejected` if the endpoint rejects the batch."""
        body = b"[" + b",".join(statement.body for statement in outgoing) + b"]"
        # A redirect would turn the POST into a GET: it is an error instead.
        send = partial(self._session.post, self._url, data=body, timeout=self._timeout, allow_redirects=False)
        return self._request(send, self._check_taken, self._max_wait_secs)

    def get(self, query: Mapping[str, str], patient: bool = True) -> requests.Response:
        """One GET of the statements resource; a 404 is an answer like any other.

        With ``patient``, tried again while the LRS is unavailable.
        """
        send = partial(self._session.get, self._url, params=query, timeout=self._timeout, allow_redirects=False)
        return self._request(send, self._check_answer, self._max_wait_secs if patient else 0.0)

    def _request(
        self,
        send: Callable[[], requests.Response],
        check: Callable[[requests.Response], None],
        max_wait_secs: float,
    ) -> requests.Response:
        """The answer to a request, with retries; ``check`` raises for an answer that is an error."""

        def attempt() -> requests.Response:
            try:
                response = send()
            except (requests.RequestException, ValueError) as error:
                raise self._failed(error) from None
            check(response)
            return response

        return retrying(attempt, max_wait_secs)

    def _check_taken(self, response: requests.Response) -> None:
        """Raise unless the endpoint has taken the batch."""
        status = response.status_code
        if 200 <= status < 300:
            return
        if status in REJECTING:
            raise _BatchRejected(status, f"{status}{_quoted_body(response)}")
        if status in BUSY or status >= 500:
            raise self._busy(response)
        raise self._permanent(response)

    def _check_answer(self, response: requests.Response) -> None:
        """Raise unless this is the answer to a GET."""
        status = response.status_code
        if 200 <= status < 300 or status == 404:
            return
        if status in BUSY or (status >= 500 and status != 501):
            raise self._busy(response)
        if status in (401, 403):
            raise PermanentError(
                f"{self.name} does not let these credentials read ({status}): give them the right to read statements."
            )
        raise self._permanent(response)

    def _busy(self, response: requests.Response) -> TransientError:
        wait_secs = retry_after(response.headers.get("Retry-After", ""))
        return TransientError(f"{self.name} answers {response.status_code}{_quoted_body(response)}", wait_secs)

    def _permanent(self, response: requests.Response) -> PermanentError:
        status = response.status_code
        if status in (401, 403):
            return PermanentError(
                f"{self.name} refuses the credentials ({status}): check this LRS's user and password."
            )
        if 300 <= status < 400:
            target = redirect_target(response)
            return PermanentError(f"{self.name} redirects to {target} ({status}): set that URL instead.")
        return PermanentError(f"{self.name} answers {status}{_quoted_body(response)}: check its URL.")


def _resource(target: Target) -> str:
    """The URL to POST to. tincan's RemoteLRS, which ERB uses, adds ``statements`` to the endpoint it is given."""
    url = target.url.strip()
    if target.transformer_type != "xapi":
        return url
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/statements") else f"{path}/statements"))


def _auth(target: Target) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Set even without credentials: requests would otherwise look for some in the user's .netrc."""
    if target.username or target.password:
        return requests.auth.HTTPBasicAuth(target.username.encode(), target.password.encode())

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if target.bearer:
            header = ("Authorization", f"Bearer {target.bearer}")
            # As requests checks the headers that are set before the credentials.
            requests.utils.check_header_validity(header)
            request.headers.update([header])
        return request

    return bearer


def _dumps(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode("ascii")


def _same(left: OutgoingStatement, right: OutgoingStatement) -> bool:
    """Equal for the destination. A Caliper envelope's ``sendTime`` says only when it was made."""
    if left.body == right.body:
        return True
    left_fields, right_fields = left.made.statement.fields, right.made.statement.fields
    return {**left_fields, "sendTime": None} == {**right_fields, "sendTime": None}


def _quoted_body(response: requests.Response) -> str:
    text = printable(" ".join(body_text(response)[:2000].split()))
    return f": {text[:300]}" if text else ""


def body_text(response: requests.Response) -> str:
    """The body of an answer, whatever its header says of the charset."""
    try:
        return response.text
    except UnicodeError:
        # Of a charset that Python has a codec for, but none that reads text.
        return response.content.decode("utf-8", "replace")


def redirect_target(response: requests.Response) -> str:
    """Where an answer redirects to, as it may be printed."""
    try:
        return printable(shown_url(response.headers.get("Location", "nowhere")))
    except ValueError:
        return "something that is not a URL"


def innermost_cause(error: Exception) -> str:
    """The innermost reason of a requests error, which is wrapped three deep and names the object's address."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    reason = getattr(inner, "reason", None)
    if isinstance(reason, BaseException):
        inner = reason
    text = str(inner).rpartition("object at 0x")[2].partition(">: ")[2] or str(inner)
    return f"{type(inner).__name__}: {text}"[:300]


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

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
from ..util.backoff import delays, wait
from ..util.errors import PermanentError, Unavailable
from ..util.formatting import shown_url

# xAPI 1.0.3, part 3, section 3.3: every request names the version that it speaks.
XAPI_VERSION = "1.0.3"
CONNECT_TIMEOUT = 10.0
REJECTING = {
    400: dead_letters.INVALID,
    409: dead_letters.CONFLICT,
    413: dead_letters.TOO_LARGE,
    422: dead_letters.INVALID,
}
TRANSIENT = frozenset({408, 425, 429})

# (event) -> (is it for this router, fields to overwrite): ERB's match_params and override_args.
Routing = Callable[[Mapping[str, Any]], "tuple[bool, Mapping[str, Any]]"]


def to_all(_event: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any]]:
    """The routing of an endpoint that takes every event as it is."""
    return True, {}


@dataclass(frozen=True)
class Target:
    """An endpoint: where it is, what it takes, how to be let in."""

    url: str
    transformer_type: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    routing: Routing = to_all


class _AtFault(Exception):
    """The endpoint blames the batch: one or more of its statements can't be taken as they are."""

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
        singles = self._once_each(outgoing, outcome)
        self._deliver(singles, outcome)
        return outcome

    def ask(self) -> str:
        """What the endpoint answers to a request that changes nothing, in words; one try.

        xAPI: for one statement, which takes the credentials. Caliper has no such request: it is only asked whether it
        is there. Raises :class:`~.errors.JobError` with what to do for an answer that would end a run.
        """
        xapi = self.target.transformer_type == "xapi"
        method, query = (self._session.get, {"limit": "1"}) if xapi else (self._session.head, {})
        send = partial(method, self._url, params=query, timeout=self._timeout, allow_redirects=False)
        try:
            response = self._asked(send, self._taken if xapi else self._is_there, 0.0)
        except _AtFault as fault:
            raise PermanentError(f"{self.name} answers {fault.detail}: check its URL.") from None
        if not xapi:
            status = response.status_code
            return f"is there ({status}); Caliper has no way to try the credentials without sending an event"
        if b'"statements"' not in response.content:
            status = response.status_code
            raise PermanentError(
                f"{self.name} answers {status}, but without statements: this is no LRS. Check its URL."
            )
        return "answers, and takes the credentials"

    def _is_there(self, response: requests.Response) -> bool:
        """Any answer to HEAD says that somebody is there; not all know HEAD."""
        if response.status_code in (401, 403):
            raise self._refused(response)
        return True

    def _refuse(self, error: requests.RequestException) -> None:
        """Raise :class:`~.errors.PermanentError` for an error that another try can't mend."""
        if isinstance(error, requests.exceptions.SSLError):
            raise PermanentError(
                f"{self.name}: the TLS certificate can't be trusted ({_cause(error)}): mend it, or use the name that "
                "it is for."
            ) from None
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader)):
            raise PermanentError(f"{self.name} can't be asked ({type(error).__name__}): check its URL.") from None

    def _once_each(self, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> list[OutgoingStatement]:
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
        """Send ``outgoing``, in halves where the endpoint blames one of them or takes no body of their size."""
        if not outgoing:
            return
        size = sum(len(statement.body) + 1 for statement in outgoing)
        if len(outgoing) == 1 or size <= self._max_bytes:
            try:
                self._count(self._post(outgoing), outgoing, outcome)
                return
            except _AtFault as fault:
                if fault.status == 413 and len(outgoing) > 1:
                    # What was too large once is too large again: later batches are cut before they are sent.
                    self._max_bytes = max(size // 2, 1)
                if len(outgoing) == 1:
                    outcome.rejected.append(Rejection(outgoing[0], REJECTING[fault.status], fault.detail))
                    return
        middle = len(outgoing) // 2
        self._deliver(outgoing[:middle], outcome)
        self._deliver(outgoing[middle:], outcome)

    def _count(self, response: requests.Response, outgoing: Sequence[OutgoingStatement], outcome: Outcome) -> None:
        """Count what the endpoint says it stored (xAPI 1.0.3, part 3, section 2.1.2: the ids of the new ones)."""
        if self.target.transformer_type != "xapi":
            outcome.stored += len(outgoing)
            return
        stored = 0
        if response.status_code != 204 and response.content:
            try:
                ids = response.json()
            except ValueError:
                ids = None
            if not isinstance(ids, list):
                kind = response.headers.get("Content-Type", "no content type")
                raise PermanentError(
                    f"{self.name} answers {response.status_code}, but with {kind} and not with a list of ids: "
                    "this is no LRS. Check its URL."
                )
            stored = len({str(one).lower() for one in ids} & {statement.id.lower() for statement in outgoing})
        outcome.stored += stored
        outcome.duplicates += len(outgoing) - stored

    def _post(self, outgoing: Sequence[OutgoingStatement]) -> requests.Response:
        """One POST, tried again while the endpoint is away. Raises :class:`_AtFault` if it blames the batch."""
        body = b"[" + b",".join(statement.body for statement in outgoing) + b"]"
        # A redirect would turn the POST into a GET; it is told to the user instead.
        ask = partial(self._session.post, self._url, data=body, timeout=self._timeout, allow_redirects=False)
        return self._asked(ask, self._taken, self._max_wait_secs)

    def get(self, query: Mapping[str, str], patient: bool = True) -> requests.Response:
        """One GET of the statements resource; a 404 is an answer like any other.

        With ``patient``, tried again while the LRS is away.
        """
        ask = partial(self._session.get, self._url, params=query, timeout=self._timeout, allow_redirects=False)
        return self._asked(ask, self._answered, self._max_wait_secs if patient else 0.0)

    def _asked(
        self,
        ask: Callable[[], requests.Response],
        taken: Callable[[requests.Response], bool],
        max_wait_secs: float,
    ) -> requests.Response:
        """The answer to a request, made again while the endpoint is away or ``taken`` says that it is not one yet."""
        waits = delays(max_wait_secs)
        deadline = time.monotonic() + max_wait_secs
        while True:
            asked = 0.0
            try:
                response = ask()
                if taken(response):
                    return response
                said = f"answers {response.status_code}{_words(response)}"
                asked = retry_after(response.headers.get("Retry-After", ""))
            except requests.RequestException as error:
                self._refuse(error)
                said = f"does not answer ({_cause(error)})"
            delay = next(waits, None)
            if delay is None or time.monotonic() + asked > deadline:
                raise Unavailable(f"{self.name} {said}. Run again to resume.")
            wait(f"{self.name} {said}", max(delay, asked))

    def _taken(self, response: requests.Response) -> bool:
        """Did the endpoint take the batch? ``False``: it may take it later. Raises for all other answers."""
        status = response.status_code
        if 200 <= status < 300:
            return True
        if status in REJECTING:
            raise _AtFault(status, f"{status}{_words(response)}")
        if status in TRANSIENT or status >= 500:
            return False
        raise self._refused(response)

    def _answered(self, response: requests.Response) -> bool:
        """Is this the answer to a GET? ``False``: ask again later. Raises for all other answers."""
        status = response.status_code
        if 200 <= status < 300 or status == 404:
            return True
        if status in TRANSIENT or (status >= 500 and status != 501):
            return False
        if status in (401, 403):
            raise PermanentError(
                f"{self.name} does not let these credentials read ({status}): give them the right to read statements."
            )
        raise self._refused(response)

    def _refused(self, response: requests.Response) -> PermanentError:
        status = response.status_code
        if status in (401, 403):
            return PermanentError(
                f"{self.name} refuses the credentials ({status}): check this LRS's user and password."
            )
        if 300 <= status < 400:
            target = shown_url(response.headers.get("Location", "nowhere"))
            return PermanentError(f"{self.name} redirects to {target} ({status}): set that URL instead.")
        return PermanentError(f"{self.name} answers {status}{_words(response)}: check its URL.")


def _resource(target: Target) -> str:
    """The URL to POST to. tincan's RemoteLRS, which ERB uses, adds ``statements`` to the endpoint it is given."""
    url = target.url.strip()
    if target.transformer_type != "xapi":
        return url
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/statements") else f"{path}/statements"))


def _auth(target: Target) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Always set, also without credentials: requests would else look for some in the user's .netrc."""
    if target.username or target.password:
        return requests.auth.HTTPBasicAuth(target.username.encode(), target.password.encode())

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if target.bearer:
            request.headers["Authorization"] = f"Bearer {target.bearer}"
        return request

    return bearer


def _dumps(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode("ascii")


def _same(one: OutgoingStatement, other: OutgoingStatement) -> bool:
    """Equal for the destination. A Caliper envelope's ``sendTime`` says only when it was made."""
    if one.body == other.body:
        return True
    left, right = one.made.statement.fields, other.made.statement.fields
    return {**left, "sendTime": None} == {**right, "sendTime": None}


def _words(response: requests.Response) -> str:
    text = " ".join(response.text[:2000].split())
    return f": {text[:300]}" if text else ""


def _cause(error: Exception) -> str:
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
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, at - (time.time() if now is None else now))

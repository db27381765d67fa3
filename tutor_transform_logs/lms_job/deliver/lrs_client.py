"""The HTTP side of an LRS or a Caliper endpoint: requests over kept-alive sessions, tried again while it is busy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from ..storage.bounded_http import bounded_session
from ..util.contact import Contact
from ..util.formatting import printable, shown_url
from ..util.secrets import remember
from . import lrs_answers
from .http_answers import secrets_of
from .sessions import Sessions
from .traffic import EndpointTraffic

# xAPI 1.0.3, part 3, section 3.3: every request names the version that it speaks.
XAPI_VERSION = "1.0.3"
CONNECT_TIMEOUT = 10.0

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
    own_account: str = ""
    """What tells it from an older router whose URL differs in nothing but a slash at the end."""
    own_name: str = ""
    """One of :attr:`names` that no other target of the job has, where the shortest is not that."""

    @property
    def is_xapi(self) -> bool:
        return self.transformer_type == "xapi"

    @property
    def id(self) -> str:
        """What the ledger calls it. Two accounts at one URL may each have a store of its own behind it."""
        account = self.own_account or f"{self.url.rstrip('/')} {self.username}".rstrip()
        return "lrs-" + hashlib.sha256(account.encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        """For people, without secrets."""
        return self.own_name or self.names[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it may have had, beside other targets than now, the shortest first."""
        named = printable(f"{shown_url(self.url)} ({f'user {self.username}' if self.username else 'no user'})")
        return shown_url(self.resource), named, f"{named} {self.id}"

    @property
    def resource(self) -> str:
        """The URL to POST to. tincan's RemoteLRS, which ERB uses, adds ``statements`` to the endpoint it is given."""
        url = self.url.strip()
        if not self.is_xapi:
            return url
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        return urlunsplit(parts._replace(path=path if path.endswith("/statements") else f"{path}/statements"))


class LrsClient:
    """Sends requests to one target, from several threads if need be.

    Each method raises :class:`~.errors.JobError` once it is of no use to go on.
    """

    def __init__(
        self,
        target: Target,
        timeout_secs: float,
        max_wait_secs: float,
        answered_before: Callable[[], bool] = lambda: False,
    ) -> None:
        """``answered_before``: has the endpoint answered to an earlier run?"""
        self.name = target.name
        self._contact = Contact(target.resource, answered_before)
        self._target = target
        self._max_wait_secs = max_wait_secs
        remember({target.password, target.bearer, *secrets_of(target.headers)})
        self._sessions = Sessions(partial(_session, target))
        self.traffic = EndpointTraffic()
        # A redirect would turn a POST into a GET: it is an error instead.
        timeout = (min(CONNECT_TIMEOUT, timeout_secs), timeout_secs)
        self._send = partial(self._sessions.request, url=target.resource, timeout=timeout, allow_redirects=False)

    def post(self, body: bytes, patient: bool = True) -> requests.Response:
        """One POST. Raises :class:`~.lrs_answers.BatchRejected` if the endpoint rejects what is in it.

        With ``patient``, tried again while the endpoint is unavailable.
        """
        send = partial(self._send, "POST", data=body)
        return self._request(send, lrs_answers.check_post, self._max_wait_secs if patient else 0.0, len(body))

    def get(self, query: Mapping[str, str], patient: bool = True) -> requests.Response:
        """One GET of the statements resource; a 404 is an answer like any other.

        With ``patient``, tried again while the LRS is unavailable.
        """
        send = partial(self._send, "GET", params=query)
        return self._request(send, lrs_answers.check_get, self._max_wait_secs if patient else 0.0)

    def probe(self) -> str:
        """Describe what the endpoint answers to a request that changes nothing; one try.

        xAPI: a GET of one statement, which tries the credentials. Caliper has no such request: a HEAD shows only that
        a server answers. Raises :class:`~.errors.JobError` for an answer that would end a run.
        """
        if self._target.is_xapi:
            send = partial(self._send, "GET", params={"limit": "1"})
            return lrs_answers.describe_probe(self._request(send, lrs_answers.check_probe, 0.0))
        response = self._request(partial(self._send, "HEAD"), lrs_answers.check_head, 0.0)
        status = response.status_code
        return f"answers ({status}); Caliper has no way to try the credentials without sending an event"

    def _request(
        self,
        send: Callable[[], requests.Response],
        check: Callable[[str, requests.Response], None],
        max_wait_secs: float,
        size: int = 0,
    ) -> requests.Response:
        """The answer to a request, with retries; ``check`` raises for an answer that is an error."""

        def attempt() -> requests.Response:
            try:
                response = send()
            except (requests.RequestException, ValueError) as error:
                raise lrs_answers.no_answer(self.name, error, self._contact) from None
            self._contact.made()
            check(self.name, response)
            return response

        return self.traffic.retrying(attempt, max_wait_secs, size)


def _session(target: Target) -> requests.Session:
    session = bounded_session()
    session.auth = _auth(target)
    session.headers.update(target.headers)
    session.headers["Content-Type"] = "application/json"
    if target.is_xapi:
        session.headers["X-Experience-API-Version"] = XAPI_VERSION
    return session


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

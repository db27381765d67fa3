"""What the answers of an LRS, or of a Caliper endpoint, mean for the job. Pure functions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from typing import Any

import requests

from ..model import dead_letters
from ..model.delivery import OutgoingStatement, Rejection
from ..model.erb_faults import explained
from ..storage.bounded_http import AnswerTooLong
from ..util.contact import Contact
from ..util.errors import PermanentError, TransientError
from .http_answers import content_type, innermost_cause, redirect_target, retry_after, speaks_no_tls, status_and_text

REJECTING = {
    400: dead_letters.INVALID,
    409: dead_letters.CONFLICT,
    413: dead_letters.TOO_LARGE,
    422: dead_letters.INVALID,
}
"""Statuses that blame the batch, and the reason that a dead letter then has."""
BUSY = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed later."""
NO_GET = frozenset({403, 405, 501})
"""What an LRS answers to a GET where it has none, or none for this account: statements may be sent all the same."""


class BatchRejected(Exception):
    """The endpoint rejects the batch because of one or more of its statements."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class NotThisForm(PermanentError):
    """The endpoint takes no body of this form (415)."""


def rejection(transformer_type: str, statement: OutgoingStatement, rejected: BatchRejected) -> Rejection:
    """What becomes of a statement that is rejected by itself."""
    return explained(transformer_type, Rejection(statement, REJECTING[rejected.status], rejected.detail))


def is_about_content(rejected: BatchRejected) -> bool:
    """Is a statement invalid, rather than too large or in conflict with another one?"""
    return REJECTING[rejected.status] == dead_letters.INVALID


def check_post(name: str, response: requests.Response) -> None:
    """Raise unless the endpoint has taken what was posted.

    Raises :class:`BatchRejected`, :class:`~.errors.TransientError` if the same may be taken later, and
    :class:`~.errors.PermanentError` if nothing will be.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    if status in REJECTING:
        raise BatchRejected(status, status_and_text(response))
    if status in BUSY or status >= 500:
        raise busy(name, response)
    raise refused(name, response)


def check_get(name: str, response: requests.Response) -> None:
    """Raise unless this is the answer to a GET of statements; a 404 is one: there is no such statement."""
    status = response.status_code
    if 200 <= status < 300 or status == 404:
        return
    if status in BUSY or (status >= 500 and status != 501):
        raise busy(name, response)
    if status in (401, 403):
        raise PermanentError(
            f"{name} does not let these credentials read ({status}): give them the right to read statements."
        )
    raise refused(name, response)


def check_probe(name: str, response: requests.Response) -> None:
    """Raise unless an xAPI client can be sure that an LRS is there that knows the credentials."""
    status = response.status_code
    if status in NO_GET:
        return
    if status in REJECTING:
        raise PermanentError(f"{name} answers {status_and_text(response)}: check its URL.")
    check_post(name, response)
    if b'"statements"' not in response.content:
        raise PermanentError(f"{name} answers {status}, but without statements: this is not an LRS. Check its URL.")


def describe_probe(response: requests.Response) -> str:
    """What :func:`check_probe` lets pass, for people."""
    status = response.status_code
    if status not in NO_GET:
        return "answers, and accepts the credentials"
    return (
        f"answers, but does not let statements be read ({status}): whether it accepts the credentials shows when a run "
        "sends something. --verify can't be used, and a 409 always counts as a conflict"
    )


def check_head(name: str, response: requests.Response) -> None:
    """Any answer to HEAD but these shows that a server is there; not all servers know HEAD."""
    if response.status_code in (401, 403):
        raise refused(name, response)


def new_ids(name: str, response: requests.Response, sent: Collection[str]) -> set[str]:
    """Which of the statements that were ``sent`` (ids in lower case) the LRS did not have before.

    xAPI 1.0.3, part 3, section 2.1.2: 200 with the ids of the statements that it stored. Ralph names the new ones, and
    answers 204 if there are none. Yet Analytics' SQL LRS answers 200 with an empty list then. Learning Locker names all
    that were sent, whether it had them or not, and is believed. Raises :class:`~.errors.PermanentError` for any other
    answer (202 and 207 among them): nothing may be stored there.
    """
    if response.status_code == 204:
        return set()
    ids: Any = None
    if response.status_code == 200:
        with contextlib.suppress(ValueError, RecursionError):
            ids = json.loads(response.content)
    found = [str(statement_id).lower() for statement_id in ids] if isinstance(ids, list) else [""]
    # As many as were sent, and one of them twice: then another one is missing.
    if set(found) - set(sent) or len(set(found)) < len(found):
        raise PermanentError(
            f"{name} answers {response.status_code}, but with {content_type(response)} and not with a list of the ids "
            "that were sent: this is not an LRS. Check its URL."
        )
    return set(found)


def busy(name: str, response: requests.Response) -> TransientError:
    wait_secs = retry_after(response.headers.get("Retry-After", ""))
    return TransientError(f"{name} answers {status_and_text(response)}", wait_secs, response.status_code in BUSY)


def refused(name: str, response: requests.Response) -> PermanentError:
    status = response.status_code
    if status in (401, 403):
        return PermanentError(f"{name} refuses the credentials ({status}): check this LRS's user and password.")
    if 300 <= status < 400:
        target = redirect_target(response)
        if not target:
            return PermanentError(f"{name} answers {status}, a redirect to no URL: check its URL.")
        return PermanentError(
            f"{name} redirects to {target} ({status}): if that is where the LRS is, set that URL instead."
        )
    refusal = NotThisForm if status == 415 else PermanentError
    return refusal(f"{name} answers {status_and_text(response)}: check its URL.")


def no_answer(
    name: str, error: requests.RequestException | ValueError, contact: Contact
) -> PermanentError | TransientError:
    """The job's error for a request that got no answer."""
    if isinstance(error, requests.exceptions.SSLError) and speaks_no_tls(error):
        return PermanentError(
            f"{name}: this port speaks no TLS ({innermost_cause(error)}). Set a URL that begins with http://, or the "
            "port that speaks TLS."
        )
    if isinstance(error, requests.exceptions.SSLError):
        return PermanentError(
            f"{name}: the TLS certificate is not trusted ({innermost_cause(error)}). Fix the certificate, or use the "
            "host name that it was issued for."
        )
    if isinstance(error, AnswerTooLong):
        return PermanentError(f"{name} answers with {error}: this is not an LRS. Check its URL.")
    if isinstance(error, ValueError):
        # InvalidURL and InvalidHeader among them. Not repeated: a header's value may be a secret.
        return PermanentError(f"{name} can't be used ({type(error).__name__}): check its URL and credentials.")
    if contact.is_typo(error):
        return PermanentError(
            f"{name} can't be reached ({innermost_cause(error)}), and never was: check its URL, and that it is running."
        )
    return TransientError(f"{name} does not answer ({innermost_cause(error)})")

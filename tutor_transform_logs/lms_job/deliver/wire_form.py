"""The form in which ERB's LRS client posts a statement.

ERB gives each statement that its processor returned to tincan's ``RemoteLRS``, which parses it again into a
``Statement`` and posts the JSON of that (``save_statement``, and ``save_statements`` for many). What tincan does not
keep is lost on the way: of ERB's ``GroupActivity`` (a problem with several questions), tincan makes an ``Activity``.
Files, loggers and ClickHouse get what the processor returned, which is what ERB logs.
"""

from __future__ import annotations

import importlib
import json


def wire_form(body: bytes) -> bytes:
    """What ERB's LRS client posts for the statement ``body``, by the tincan that is installed.

    Where tincan can't parse a statement, ERB's client fails and posts nothing: such a statement stays as it is, and the
    LRS decides about it.
    """
    statement_class = importlib.import_module("tincan").Statement
    try:
        text: str = statement_class(json.loads(body)).to_json()
        return text.encode("ascii")
    except Exception:
        # Whatever tincan raises: its setters have no common error.
        return body

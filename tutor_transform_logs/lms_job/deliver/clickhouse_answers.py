"""What an answer of ClickHouse means for a batch: a table from its exception codes, with what an operator can do."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from ..util.formatting import printable


class Verdict(enum.Enum):
    """What to do with the rows of the query that got the answer."""

    OK = "done"
    RETRY = "send the same again later"
    SMALLER = "send half of the rows; a single row again later"
    SPLIT = "send half of the rows; a single row is too large"
    ROW = "send half of the rows; a single row is invalid"
    STOP = "no other try can help"


@dataclass(frozen=True)
class Answer:
    """An answer that was read."""

    verdict: Verdict
    detail: str = ""
    """What ClickHouse, or something before it, says; without secrets."""
    advice: str = ""
    """For :attr:`Verdict.STOP`: what to do."""


# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
UNPARSABLE = frozenset({6, 25, 26, 27, 38, 41, 53, 69, 72, 117, 131, 321, 376, 469, 691})
# Something is full, busy, being restarted or not in step with its replicas.
TRANSIENT_CODES = {
    3: "the connection to ClickHouse was cut",
    33: "the connection to ClickHouse was cut",
    159: "the query took longer than ClickHouse allows (max_execution_time)",
    201: "the quota of this user is used up",
    202: "too many queries at the same time",
    209: "a time-out inside ClickHouse",
    210: "a network error inside ClickHouse",
    216: "an earlier insert of rows of the same days is still running",
    225: "ClickHouse has lost its Keeper",
    236: "ClickHouse is shutting down",
    242: "the table is read-only now (a replica has lost its Keeper)",
    243: "the disk of ClickHouse is full",
    252: "the table has too many parts: ClickHouse merges them slower than rows arrive",
    285: "too few replicas are alive",
    319: "ClickHouse does not know whether the rows were stored",
    394: "the query was cancelled",
    439: "ClickHouse has no free thread",
    745: "ClickHouse is overloaded",
    999: "ClickHouse has lost its Keeper",
}
TOO_MUCH_MEMORY = 241
TOO_MANY_PARTS = 252
CREDENTIALS = "Check TRANSFORM_LOGS_CLICKHOUSE_USERNAME and TRANSFORM_LOGS_CLICKHOUSE_PASSWORD."
SCHEMA = (
    "Check TRANSFORM_LOGS_CLICKHOUSE_DATABASE and TRANSFORM_LOGS_CLICKHOUSE_TABLE, or make Aspects' tables with "
    '"tutor local do init -l aspects".'
)
GRANT = "Give the user INSERT and SELECT on this table, or set TRANSFORM_LOGS_CLICKHOUSE_USERNAME to one that has them."
SETTINGS_PROFILE = (
    "Give the user a settings profile that is not read-only, or set TRANSFORM_LOGS_CLICKHOUSE_USERNAME to another."
)
URL = "Check TRANSFORM_LOGS_CLICKHOUSE_URL (the HTTP interface, port 8123, or 8443 with TLS)."
REDIRECT = "If that is where ClickHouse is, set that URL instead."
NOT_CLICKHOUSE = Answer(Verdict.STOP, "it answers, but not as ClickHouse does", URL)
UNKNOWN = "See ClickHouse's log, fix the cause and run the command again."
REFUSED = {
    **dict.fromkeys((192, 193, 194, 516), CREDENTIALS),
    **dict.fromkeys((16, 43, 47, 48, 60, 81), SCHEMA),
    497: GRANT,
    **dict.fromkeys((115, 164, 452), SETTINGS_PROFILE),
}
EXCEPTION_CODE = re.compile(r"\bCode: (\d+)[.,]")
MAX_DETAIL = 300


def classify(status: int, code_header: str, text: str) -> Answer:
    """Read an answer: its HTTP status, its header ``X-ClickHouse-Exception-Code`` and the beginning of its body."""
    found = EXCEPTION_CODE.search(text)
    code = int(code_header) if code_header.isdecimal() else int(found[1]) if found else 0
    if not code:
        return _without_code(status, text)
    detail = _clean(text) or f"Code: {code}"
    if code == TOO_MANY_PARTS and "single INSERT block" in text:
        return Answer(Verdict.SPLIT, detail)
    if code in TRANSIENT_CODES:
        return Answer(Verdict.RETRY, f"{TRANSIENT_CODES[code]} ({detail})")
    if code == TOO_MUCH_MEMORY:
        return Answer(Verdict.SMALLER, f"the query needs more memory than ClickHouse allows ({detail})")
    if code in UNPARSABLE:
        return Answer(Verdict.ROW, detail)
    if code in REFUSED or status < 500:
        return Answer(Verdict.STOP, detail, REFUSED.get(code, UNKNOWN))
    return Answer(Verdict.RETRY, detail)


def classify_body(text: str) -> Answer:
    """Read the body of an answer with a status of success that should have none.

    ClickHouse can't take the status back when it has begun to answer: an exception then comes in the body.
    """
    return classify(500, "", text) if EXCEPTION_CODE.search(text) else NOT_CLICKHOUSE


def _without_code(status: int, text: str) -> Answer:
    """Not ClickHouse itself, as a rule: a proxy, a load balancer, another server."""
    if 200 <= status < 300:
        return Answer(Verdict.OK)
    detail = f"{status}: {_clean(text)}" if text.strip() else str(status)
    if status == 413:
        return Answer(Verdict.SPLIT, detail)
    if status in (408, 425, 429) or status >= 500:
        return Answer(Verdict.RETRY, detail)
    return Answer(Verdict.STOP, detail, CREDENTIALS if status == 401 else URL)


def _clean(text: str) -> str:
    """On one line of a terminal, without HTML's tags, ClickHouse's version and the query."""
    text = re.sub(r"<(style|script)\b.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"<[^>]{1,200}>", " ", text)
    text = re.sub(r"\(version [\d.]+(?: \([^)]*\))?\)", "", text)
    # What follows is the query.
    text = re.sub(r"[:.,]? In scope .*", "", text, flags=re.DOTALL)
    return printable(" ".join(text.split()))[:MAX_DETAIL]

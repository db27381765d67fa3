"""What the job says of ClickHouse's answers. It puts the messages together from tables, so no source line has them."""

from __future__ import annotations

from tests.harness.clickhouse import Fault
from tutor_transform_logs.lms_job.deliver import clickhouse_answers as answers

AGAIN = ". Run again to resume."


def _with_code(code: int) -> Fault:
    return Fault.exception(code, "told to")


PASSING = {f"...: {text} (...){AGAIN}": _with_code(code) for code, text in answers.TRANSIENT_CODES.items()}
PASSING[f"...: the query needs more memory than ClickHouse allows (...){AGAIN}"] = _with_code(answers.TOO_MUCH_MEMORY)
PASSING[f"...: it does not answer (...){AGAIN}"] = Fault("no_answer")
PASSING[f"...: ...{AGAIN}"] = Fault("answer_only", status=502, text="<h1>Bad Gateway</h1>")

REFUSED = {f"...: .... {advice}": _with_code(code) for code, advice in answers.REFUSED.items()}
REFUSED[f"...: .... {answers.URL}"] = Fault("answer_only", status=404, text="<h1>Not Found</h1>")
REFUSED[f"...: .... {answers.UNKNOWN}"] = Fault.exception(36, status=400)
REFUSED[f"...: it redirects to .... {answers.REDIRECT}"] = Fault(
    "answer_only", status=301, headers={"Location": "https://clickhouse.example.org/"}
)

MESSAGES = PASSING | REFUSED
"""Each message, with ``...`` for what is put in, and an answer that makes the job end with it."""

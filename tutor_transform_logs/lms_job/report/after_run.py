"""What is told outside of the job at the end of a run: metrics in a file, a summary to a URL or a command.

Nothing here changes how the run has ended: what fails is a warning.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import requests

from ..config.schema import JobConfig
from ..deliver.choice import FROM_HOST
from ..ledger.ledger import job_identity, job_key
from ..storage.bounded_http import bounded_session
from ..util import console
from ..util.contact import why_unreachable
from ..util.errors import ExitStatus
from ..util.formatting import duration
from ..util.phase_outcome import PhaseOutcome
from ..util.run_summary import NOTHING_NEW, Summary, is_url, run_command, summarise
from ..util.secrets import remember
from .metrics import write_metrics

# A container that is stopped is killed ten seconds later.
POST_SECS = 5.0


def tell_end(config: JobConfig, phase: str, outcome: PhaseOutcome, secs: float) -> PhaseOutcome:
    """Tell of a run's end, if this ``phase``, which took ``secs``, is one; gives its outcome with the summary.

    Of a dry run, nothing is told.
    """
    if config.dry_run or not _ends_run(phase, outcome):
        return outcome
    numbers = outcome.numbers
    if phase == "report" and numbers.planned:
        secs = max(time.time() - numbers.planned, 0.0)
    if outcome.nothing_new and outcome.status == ExitStatus.DONE:
        numbers = replace(numbers, ending=NOTHING_NEW)
    key = job_key(job_identity(config))
    summary = summarise(outcome.status, secs, numbers, key, config.transformer_type)
    if config.metrics_file:
        try:
            write_metrics(Path(config.metrics_file), summary, numbers)
        except OSError as error:
            _warn(
                f"The metrics can't be written to {config.metrics_file} ({error.strerror}). Check "
                "TRANSFORM_LOGS_METRICS_FILE: the job's user must be able to write there."
            )
    if is_url(config.notify):
        _post(config.notify, summary)
    elif config.notify and not os.environ.get(FROM_HOST):
        # Otherwise the command that has started the job runs it, on the host.
        problem = run_command(config.notify, summary)
        if problem:
            _warn(f"The command of TRANSFORM_LOGS_NOTIFY failed ({problem}). Fix it. The run is not affected.")
    return replace(outcome, summary=summary)


def _ends_run(phase: str, outcome: PhaseOutcome) -> bool:
    """On Kubernetes, ``report`` ends it, or ``plan`` where nothing comes after it."""
    return phase in ("run", "report") or (phase == "plan" and bool(outcome.status or outcome.nothing_new))


def _post(url: str, summary: Summary) -> None:
    """Send the summary to a URL, in one try. The URL is a secret: a webhook has nothing else to protect it."""
    remember([url])
    headers = {"Content-Type": "application/json"}
    try:
        answer = bounded_session().post(
            url, data=json.dumps(summary), headers=headers, timeout=POST_SECS, allow_redirects=False
        )
        problem = "" if answer.ok and not answer.is_redirect else f"it answered {answer.status_code}"
    except (requests.RequestException, ValueError) as error:
        # The text of the error has the URL in it.
        problem = why_unreachable(error) or f"no answer within {duration(POST_SECS)}"
    if problem:
        _warn(
            f"The URL of TRANSFORM_LOGS_NOTIFY was not reached ({problem}). Check it; the run itself is not affected."
        )


def _warn(text: str) -> None:
    console.say(text, "warning", console.WARNING)

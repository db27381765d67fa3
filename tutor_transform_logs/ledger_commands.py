"""``tutor transform-logs jobs``, ``report``, ``dead-letters`` and ``prune``: what the ledger on this machine holds."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tutor import config as tutor_config
from tutor import fmt
from tutor.exceptions import TutorError

from tutor_transform_logs import job_config, jobs, pruning, reports
from tutor_transform_logs.lms_job.model import dead_letters as model
from tutor_transform_logs.lms_job.model.dead_letters import DeadLetter
from tutor_transform_logs.lms_job.report.glossary import REASON_MEANINGS
from tutor_transform_logs.lms_job.report.masking import mask_detail, mask_line
from tutor_transform_logs.lms_job.util.errors import JobError
from tutor_transform_logs.lms_job.util.formatting import printable, size

job_option = click.option(
    "--job", "key", default="", metavar="KEY", help="Only this job: the beginning of its key is enough."
)
plan_option = click.option("--plan", type=click.IntRange(min=1), metavar="N", help="Only the plan with this number.")


@contextlib.contextmanager
def _the_ledger(context: Any) -> Iterator[Path]:
    """The folder of the site's ledger. Raises ``TutorError`` if it is not on this machine or can't be read."""
    site = tutor_config.load(context.root)
    values = job_config.with_site_defaults(job_config.from_settings(site), site)
    try:
        yield reports.ledger_folder(context.root, job_config.check(values).ledger)
    except BrokenPipeError:
        raise  # of the terminal's side, as with head: click ends the command
    except OSError as error:
        raise TutorError(
            f"{error.filename}: {error.strerror}. It belongs to the LMS's user: use sudo, as for Docker."
        ) from error
    except JobError as error:
        raise TutorError(str(error)) from error


def _chosen(ledger: Path, key: str) -> list[jobs.StoredJob]:
    return [jobs.job_named(ledger, key)] if key else jobs.jobs_in(ledger)


@click.command(name="jobs")
@click.pass_obj
def list_jobs(context: Any) -> None:
    """List the jobs of this site, the one that ran last first.

    A job is one source, destination, type and choice of events. For each: its key, how its last run ended, and how many
    lines and dead letters it has.
    """
    with _the_ledger(context) as ledger:
        found = jobs.jobs_in(ledger)
        if not found:
            fmt.echo_info(f"No job has run yet: {ledger} holds none.")
        for job in found:
            click.echo(job.describe())


@click.command()
@click.option("--list", "list_", is_flag=True, help="List all reports, the newest first.")
@job_option
@plan_option
@click.option("--open", "open_", is_flag=True, help="Open the report in the browser.")
@click.pass_obj
def report(context: Any, list_: bool, key: str, plan: int | None, open_: bool) -> None:
    """Find the newest report of this site's runs, or another one.

    A report is a page for the browser: statements by day, what failed and why, how fast it went. It is in the ledger,
    which is in Tutor's data directory unless TRANSFORM_LOGS_LEDGER_PROVIDER is set.
    """
    with _the_ledger(context) as ledger:
        if key or plan:
            found = [page for job in _chosen(ledger, key) for page in job.reports() if plan in (None, page.plan)]
            if not found:
                raise TutorError(
                    "There is no such report. See those that there are: tutor transform-logs report --list"
                )
            found.sort(key=reports.Report.age_key, reverse=True)
        else:
            found = reports.all_reports(ledger) or [reports.newest_report(ledger)]
    for page in found if list_ else found[:1]:
        click.echo(str(page))
    # Without a desktop, xdg-open tries browsers for terminals, and says so of each.
    has_desktop = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if open_ and (not has_desktop or click.launch(str(found[0].page))):
        raise TutorError(f"No browser can be opened here. Open this in one: {found[0].page.as_uri()}")


@click.command(name="dead-letters")
@job_option
@plan_option
@click.option("--reason", default="", metavar="REASON", help="Only those with this reason, such as unknown_user.")
@click.option("--count", "count_", is_flag=True, help="Print how many there are for each reason.")
@click.option("--show", is_flag=True, help="Print them whole, with personal data, as lines of JSON.")
@click.pass_obj
def dead_letters(context: Any, key: str, plan: int | None, reason: str, count_: bool, show: bool) -> None:
    """Print the dead letters of this site's jobs: what failed, where and why.

    Personal data is masked, unless you ask for it with --show. To send them again: tutor local do
    transform-tracking-logs --retry-failed.
    """
    # Six parameters: the command's options.
    if count_ and show:
        raise TutorError("--count and --show can't be combined: give one of them.")
    if reason and reason not in REASON_MEANINGS:
        reasons = ", ".join(sorted(REASON_MEANINGS))
        raise TutorError(f"{reason!r} is not a reason of dead letters. Give --reason one of these: {reasons}.")
    render = _whole if show else _masked
    with _the_ledger(context) as ledger:
        for job in _chosen(ledger, key):
            found = _letters(job, plan, reason)
            if count_:
                _print_counts(job, found)
            else:
                for letter in found:
                    click.echo(render(letter))


def _letters(job: jobs.StoredJob, plan: int | None, reason: str) -> Iterator[DeadLetter]:
    for path in job.dead_letter_files(plan):
        for letter in jobs.letters_in(path):
            if reason in ("", letter.reason):
                yield letter


def _whole(letter: DeadLetter) -> str:
    return model.dump([letter]).decode("ascii").rstrip("\n")


def _masked(letter: DeadLetter) -> str:
    where = f"{letter.object}, line {letter.line}: {letter.reason}"
    detail = mask_detail(letter.detail, letter.raw, letter.event)
    lines = (f"{where} ({letter.event or 'no event'})", f"  {detail}", f"  {mask_line(letter.raw, letter.event)}")
    return "\n".join(map(printable, lines))


def _print_counts(job: jobs.StoredJob, letters: Iterator[DeadLetter]) -> None:
    counts = Counter(letter.reason for letter in letters)
    if counts:
        click.echo(f"{job.key}  {counts.total():,}")
    for reason, number in counts.most_common():
        click.echo(f"  {reason:<18} {number:>10,}")


def _days(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """A number of days, as 30d, in seconds."""
    days = text.removesuffix("d")
    if not days.isascii() or not days.isdigit() or len(days) > 5:
        raise click.BadParameter("give a number of days, such as 30d")
    return int(days) * 86400.0


@click.command()
@click.option(
    "--older-than",
    "age",
    default="30d",
    show_default=True,
    metavar="DAYS",
    callback=_days,
    help="Keep what is not older than this.",
)
@click.option(
    "--dead-letters",
    "with_letters",
    is_flag=True,
    help="Delete dead letters, too. They can't be sent again then.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(context: Any, age: float, with_letters: bool, yes: bool) -> None:
    """Delete what no run needs any more from the ledger: old dry runs, and old reports and results.

    The newest report of each job stays, and so does what a job has to know of what is done: a run after it finds
    nothing new, as before. A job that is running is left alone.
    """
    with _the_ledger(context) as ledger:
        before = time.time() - age
        found = [item for job in jobs.jobs_in(ledger) for item in pruning.prunable(job, before, with_letters)]
        if not found:
            fmt.echo_info(f"Nothing to delete in {ledger}.")
            return
        for item in found:
            click.echo(f"{item.path}  {item.what}, {size(item.bytes)}")
        if not yes:
            click.confirm(f"Delete {size(sum(item.bytes for item in found))}?", abort=True)
        for item in found:
            pruning.delete(item)


COMMANDS: tuple[click.Command, ...] = (list_jobs, report, dead_letters, prune)

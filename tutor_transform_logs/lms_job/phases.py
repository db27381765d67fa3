"""The phases of the job, all in one place.

    PLAN    what of the source is new, cut into segments        plan/
    WORK    each segment's statements to every destination      work/
    REPORT  the sums, the result, the exit status               report/

:func:`run` is all three in one process. On Kubernetes each phase is a process of its own: :func:`plan`, then
:func:`work` in several pods, then :func:`report`. :func:`status`, :func:`verify` and
:func:`gaps` look back at earlier runs.

Each function opens what it needs. Those that write hold the job's lock while they run. Each raises
:class:`~.errors.JobError` for what ends it before its end.

What no run needs is imported where it is used: in a container the code is mounted read-only, so that Python compiles
all that is imported at every start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace

from .config.schema import JobConfig
from .deliver import dashboards
from .deliver.choice import describe_choice
from .deliver.clickhouse import ClickHouse
from .ledger.ledger import job_identity
from .ledger.lock import check_unlocked, current_owner, job_lock
from .ledger.status import job_status
from .model.plan import Plan
from .model.work_outcome import WorkOutcome
from .plan.description import describe_dead_letters, describe_nothing_new, describe_plan
from .plan.planner import make_plan, starts_over
from .plan.resend import make_repair_plan, make_retry_plan, resume_redelivery
from .read.filters import TAKE_ALL, Filters
from .report.ending import AFTER_WORK, SAME_COMMAND
from .report.host_paths import host_path
from .report.report import load_saved, make_report, make_status
from .report.result import brief, numbers_of
from .report.summary import last_result, summary
from .transform.db_router import read_from
from .transform.factory import open_transformer
from .util import console
from .util.errors import ExitStatus, JobError, LimitReached, NoContainer, without_resuming
from .util.formatting import count, printable, wrapped
from .util.phase_outcome import PhaseOutcome
from .util.signals import Interruptions
from .util.temporary import temporary_file
from .work.allowance import Allowance
from .work.opened import OpenJob, describe_destinations, open_job, open_ledger
from .work.source import open_source
from .work.work import do_segments


def run(config: JobConfig, interruptions: Interruptions) -> PhaseOutcome:
    """PLAN, WORK, REPORT. After a plan that was resumed, what has come to the source since is planned and done too."""
    job = _open(config)
    allowance = Allowance.of(config)
    with job_lock(config, job.ledger):
        _say_destination(job)
        first, resumed = _plan(job, 1, console.say)
        _say_notices(job)
        if not first.segments:
            return _nothing_to_do(job, first)
        _check_tables(job, first, resumed)
        outcome = do_segments(job.with_output_of(first), first, interruptions, allowance=allowance)
        done = _report(job, first, outcome)
        if not resumed or outcome.errors:
            return replace(done, resumed=resumed)
        second, _ = _plan(job, 1, console.say)
        if second.segments:
            outcome = do_segments(job.with_output_of(second), second, interruptions, allowance=allowance)
            more = _report(job, second, outcome, blank_line=True)
            done = PhaseOutcome(max(done.status, more.status), numbers=done.numbers.added(more.numbers))
        elif second.left_out:
            done = replace(done, status=max(done.status, _nothing_to_do(job, second).status))
        return replace(done, resumed=True)


def plan(config: JobConfig, shares: int) -> PhaseOutcome:
    """The phase PLAN alone, for WORK in this many ``shares``."""
    job = _open(config)
    with job_lock(config, job.ledger):
        _say_destination(job)
        made, resumed = _plan(job, shares, console.result)
        _say_notices(job)
        if not made.segments:
            return _nothing_to_do(job, made)
        _check_tables(job, made, resumed)
        return PhaseOutcome(ExitStatus.DONE, resumed=resumed)


def work(config: JobConfig, interruptions: Interruptions, share: tuple[int, int]) -> PhaseOutcome:
    """The phase WORK alone: one ``share`` (I of N) of what the current plan has left."""
    job = _open_planned(config)
    with job_lock(config, job.ledger, share[0]):
        current = _current_plan(job)
        outcome = do_segments(
            job.with_output_of(current), current, interruptions, share, Allowance.of(config, share[1])
        )
        if isinstance(outcome.aborted, LimitReached) and not outcome.stopped:
            # Not a failure: a pod that fails is started again, and would have its allowance twice.
            console.say(without_resuming(str(outcome.aborted)))
        else:
            outcome.raise_first()
        return PhaseOutcome(ExitStatus.DONE)


def report(config: JobConfig) -> PhaseOutcome:
    """The phase REPORT alone."""
    job = _open_planned(config)
    with job_lock(config, job.ledger):
        current = _current_plan(job)
        if not current.segments:
            return _nothing_to_report(job, current)
        return _report(job, current, WorkOutcome(), resume=AFTER_WORK)


def status(config: JobConfig) -> PhaseOutcome:
    """Print how far the job is. Opens the ledger alone; nothing is started and nothing is changed."""
    read_from(config.database_alias)
    ledger = open_ledger(config)
    current = ledger.load_plan()
    if current is None:
        console.result(f"This job has not run yet (ledger: {host_path(ledger.where())}).", "never_run")
        return PhaseOutcome(ExitStatus.DONE)
    destinations = describe_destinations(config, ledger, current)
    owner = current_owner(ledger.storage, ledger.directory, config.ledger.is_local)
    progress = job_status(current, ledger.load_entries(current, destinations), owner)
    width = console.columns()
    head = "\n".join(wrapped(line, width) for line in str(progress).splitlines())
    left = describe_dead_letters(ledger.dead_letter_files()) if current.finished and owner is None else ""
    tail = f"\n{wrapped(left, width)}" if left else ""
    if not current.segments:
        # A later run found nothing new, and made this of the plan.
        saved = load_saved(current, ledger)
        text = f"{head}\n{last_result(saved, width)}".rstrip() + tail
        console.result(text, "status", fields={**asdict(saved), **progress.to_json()})
        return PhaseOutcome(ExitStatus.DONE)
    result = make_status(current, ledger, destinations, config.strict)
    result.running = owner is not None
    text = f"{head}\n\n{summary(config, result, width)}{tail}"
    console.result(text, "status", fields={**brief(config, result), **progress.to_json()})
    return PhaseOutcome(ExitStatus.DONE)


def verify(config: JobConfig, interruptions: Interruptions) -> PhaseOutcome:
    """Compare what the ledger says was delivered with what the destinations hold; send what is missing, if asked to."""
    from .verify.verify import check_verifiable, verify_delivered
    from .verify.verify_result import MissingLines, after_repair, describe

    check_verifiable(config)
    job = _open(config, create_ledger=config.repair)
    with _verify_lock(job), temporary_file() as lines:
        current = job.ledger.load_plan()
        if current is None:
            raise JobError(f"This job has not run yet (ledger: {job.ledger.where()}): run it, then verify it.")
        if config.repair and not current.finished:
            _finish_redelivery(job, current, interruptions)
            current = _current_plan(job)
        job = job.with_output_of(current)
        keep = MissingLines(lines).add if config.repair else None
        found = verify_delivered(job, current, open_transformer(config), keep)
        width = console.columns()
        text = "\n".join(wrapped(line, width, "    ") for line in describe(found, config.repair).splitlines())
        console.result(text, "verified", fields=found.to_json())
        if not config.repair and found.status != ExitStatus.DONE and _has_changed(job, current):
            console.say(
                "Another run of this job was active meanwhile. What differs may be what it was delivering: "
                "verify again when no run is active.",
                level=console.WARNING,
            )
        if not config.repair or not found.missing:
            return PhaseOutcome(found.status)
        console.say(f"Repairing: {count(found.missing, 'statement')} to send again.")
        repair = make_repair_plan(job.ledger, current, lines)
        outcome = do_segments(job, repair, interruptions)
        return PhaseOutcome(after_repair(_report(job, repair, outcome, blank_line=True).status, found))


def gaps(config: JobConfig) -> PhaseOutcome:
    """Compare the logs with the destination's table by day. Nothing is started and nothing is changed."""
    from .gaps.gaps import find_gaps, open_counted_table
    from .gaps.result import describe

    clickhouse = open_counted_table(config)
    read_from(config.database_alias)
    source = open_source(config.source, config.lrs_max_wait_secs)
    source.check()
    _say_filters(config)
    found = find_gaps(config, source, open_ledger(config), clickhouse, open_transformer(config))
    console.result(describe(found, console.columns()), "gaps", fields=found.to_json())
    return PhaseOutcome(ExitStatus.REJECTED if found.missing or found.problems else ExitStatus.DONE)


def _open(config: JobConfig, create_ledger: bool = True) -> OpenJob:
    read_from(config.database_alias)
    return open_job(config, create_ledger)


def _open_planned(config: JobConfig) -> OpenJob:
    """Open a job that has a plan. Where there is none, nothing is made, not even the ledger's lock."""
    job = _open(config, create_ledger=False)
    with contextlib.suppress(NoContainer):
        if job.ledger.load_plan() is not None:
            return job
    raise _no_plan(job)


def _verify_lock(job: OpenJob) -> contextlib.AbstractContextManager[None]:
    """The job's lock for a repair. Otherwise nothing is written: it is only checked that nobody holds the lock."""
    if job.config.repair:
        return job_lock(job.config, job.ledger)
    check_unlocked(job.ledger.storage, job.config.ledger.is_local, job.ledger.directory)
    return contextlib.nullcontext()


def _has_changed(job: OpenJob, before: Plan) -> bool:
    """Is a run of this job active, or has one changed the plan that was ``before`` the current one?"""
    owner = current_owner(job.ledger.storage, job.ledger.directory, job.config.ledger.is_local)
    return owner is not None or job.ledger.load_plan() != before


def _plan(job: OpenJob, shares: int, tell: Callable[..., None]) -> tuple[Plan, bool]:
    """The plan, and whether an earlier run made it; ``tell`` gets its description."""
    config, ledger = job.config, job.ledger
    if config.retry_failed:
        redelivery = make_retry_plan(ledger)
        if redelivery.segments:
            console.say(f"Retrying the dead letters of {count(len(redelivery.objects), 'plan')}.")
        return redelivery, False
    before = None if starts_over(config) else ledger.load_plan()
    console.say(printable(f"Listing {config.source}."))
    made = make_plan(config, job.source, ledger, job.destination_ids, shares)
    ledger.save_identity(job_identity(config), made.number if before is None else ledger.first_plan())
    resumed = before is not None and not before.finished
    description = describe_plan(made, resumed, ledger.load_entries(made, job.destinations) if resumed else {})
    tell(description.text, "plan", fields=description.fields)
    return made, resumed


def _nothing_to_do(job: OpenJob, empty: Plan) -> PhaseOutcome:
    if job.config.retry_failed:
        console.result("Nothing new in the ledger: there are no dead letters to retry.", "nothing_new")
        return PhaseOutcome(ExitStatus.DONE, nothing_new=True)
    # A run that was killed at the very end of its plan has left these.
    job.ledger.drop_batches()
    description = describe_nothing_new(empty, host_path(job.ledger.where()), job.ledger.dead_letter_files())
    status, level = (ExitStatus.REJECTED, console.WARNING) if empty.left_out else (ExitStatus.DONE, console.INFO)
    console.result(description.text, "nothing_new", level, description.fields)
    return PhaseOutcome(status, nothing_new=True)


def _nothing_to_report(job: OpenJob, empty: Plan) -> PhaseOutcome:
    """A plan without work has the number of the one before it, whose result must not be overwritten with zeros."""
    saved = load_saved(empty, job.ledger)
    kept = f" The result of plan {empty.name} stays as it is." if saved.path else ""
    text = f"The last plan found nothing new.{kept}\n{last_result(saved, console.columns())}".rstrip()
    console.result(text, "nothing_new", fields=asdict(saved))
    return PhaseOutcome(ExitStatus.DONE, nothing_new=True)


def _current_plan(job: OpenJob) -> Plan:
    current = job.ledger.load_plan()
    if current is None:
        raise _no_plan(job)
    return current


def _no_plan(job: OpenJob) -> JobError:
    return JobError(f"There is no plan in {job.ledger.where()}: run the phase plan first.")


def _finish_redelivery(job: OpenJob, current: Plan, interruptions: Interruptions) -> None:
    """Before a repair: finish an earlier one, or a retry, that was stopped."""
    if not current.redelivers:
        raise JobError("The last run of this job was not finished: run it again without --repair first.")
    current = resume_redelivery(job.ledger, current)
    outcome = do_segments(job.with_output_of(current), current, interruptions)
    _report(job, current, outcome)
    outcome.raise_first()


def _report(
    job: OpenJob, current: Plan, outcome: WorkOutcome, blank_line: bool = False, resume: str = SAME_COMMAND
) -> PhaseOutcome:
    """``blank_line``: print one before the summary, which is not the first of this run.

    ``resume``: what to do if the job is not finished.
    """
    result = make_report(job.with_output_of(current), current, outcome)
    text = summary(job.config, result, console.columns(), resume)
    level = console.INFO if result.status == ExitStatus.DONE and not result.dead_share else console.WARNING
    console.result(f"\n{text}" if blank_line else text, "result", level, brief(job.config, result))
    return PhaseOutcome(result.status, numbers=numbers_of(result))


def _say_filters(config: JobConfig) -> None:
    filters = Filters.of(config)
    if filters is not TAKE_ALL:
        console.say(printable(f"Replaying only: {filters}."))


def _say_destination(job: OpenJob) -> None:
    choice = describe_choice(job.config, job.destinations)
    if choice:
        console.say(choice)


def _say_notices(job: OpenJob) -> None:
    _say_filters(job.config)
    for notice in dashboards.notices(job.destinations):
        console.say(notice, "notice", console.WARNING)


def _check_tables(job: OpenJob, made: Plan, resumed: bool) -> None:
    """Before WORK: can the table hold the statements? Of a new plan, say how many events are too old for its charts.

    Raises :class:`~.errors.JobError`.
    """
    for destination in job.destinations:
        if isinstance(destination, ClickHouse):
            from .check.retention import retention_notice
            from .check.table import check_table

            check_table(destination)
            notice = "" if resumed else retention_notice(job.config, destination, job.source, made.segments)
            if notice:
                console.say(notice, "notice", console.WARNING)

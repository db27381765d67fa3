"""How a run ended, for people: the terminal, the page and the result file have the text from here."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.schema import JobConfig
from ..util.errors import ExitStatus
from ..util.formatting import count
from .result import Result, reasons

SAME_COMMAND = "Not finished: run the same command again to resume where this run stopped."
SAME_JOB = "Not finished: run the job again with the same settings and options to resume where it stopped."
# The phase report alone does not know how the phase work ended.
AFTER_WORK = "Not finished: the messages of the phase work say why. Run the same command again to resume."
RUNNING = "Not finished: the job is running."
NOT_ACCOUNTED = "NOT everything is accounted for; please report this."
FAILED = f"Failed before the end. {ExitStatus.FAILED.next_step}"
ALL = "Done. Every line and every statement is accounted for."
ALL_READ = "All that was read is accounted for."
# With and without log_statements.
DRY_RUN = {True: "Statements went to the logger only.", False: "Nothing was delivered."}


@dataclass(frozen=True)
class Ending:
    """How a run ended, and what to do about it."""

    outcome: str
    next_steps: tuple[str, ...] = ()
    """What to do, in sentences; empty if there is nothing to do."""
    is_good: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        return (self.outcome, *self.next_steps)


def ending(config: JobConfig, result: Result, resume: str = SAME_JOB) -> Ending:
    """The ending of a run with this ``result``. ``resume``: what to do if the job is not finished."""
    found = _ending(config, result, resume)
    if not config.dry_run:
        return found
    return Ending(found.outcome, (*found.next_steps, f"Dry run. {DRY_RUN[config.log_statements]}"), found.is_good)


def _ending(config: JobConfig, result: Result, resume: str) -> Ending:
    if result.accounting_errors:
        return Ending(NOT_ACCOUNTED)
    if result.status == ExitStatus.FAILED:
        return Ending(FAILED)
    if result.running and not result.done:
        return Ending(RUNNING)
    if result.status == ExitStatus.STOPPED or not result.done:
        return Ending(resume)
    return _with_losses(config, result)


def _with_losses(config: JobConfig, result: Result) -> Ending:
    """The ending of a run that has come to its end. What is lost and why is status 3: see ``exit_status``."""
    rejected = sum(destination.counts.rejected for destination in result.destinations)
    unread, dead = len(result.problems), sum(reasons(result).values())
    losses, steps = [], []
    if rejected:
        losses.append(f"{count(rejected, 'statement')} {_were(rejected)} rejected by the destination")
        steps.append(
            "What was rejected is in the dead letters: fix the cause and run the command again with --retry-failed."
        )
    if unread:
        losses.append(f"{count(unread, 'log')} could not be read, or not to {'its' if unread == 1 else 'their'} end")
        steps.append("The table says why a log was not read: fix the cause and run the command again.")
    if config.strict and dead:
        losses.append(
            f"there {'is' if dead == 1 else 'are'} {count(dead, 'dead letter')} (TRANSFORM_LOGS_STRICT is on)"
        )
    if not losses:
        return Ending(ALL, is_good=True)
    accounted = ALL_READ if unread else ALL.removeprefix("Done. ")
    return Ending(f"Done, but {', and '.join(losses)}. {accounted}", tuple(steps))


def _were(number: int) -> str:
    return "was" if number == 1 else "were"

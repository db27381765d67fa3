"""``python -m tutor_transform_logs.lms_job PHASE --config FILE``."""

from __future__ import annotations

from .util.signals import Interrupted, Interruptions, exit_on_signals

if __name__ == "__main__":
    # Before all that takes long to import.
    exit_on_signals()

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .config.schema import JobConfig, read
from .config.validators import ConfigError
from .deliver.loggers import NAMES
from .util import console, lms_logging, phase_outcome
from .util.errors import ExitStatus, JobError, without_resuming
from .util.phase_outcome import PhaseOutcome
from .util.secrets import hide_known

PHASES = {
    "run": "plan, work and report in one process",
    "plan": "list the source, find what is new, and write the plan to the ledger",
    "work": "process what is left of the plan",
    "report": "add everything up, join the output, and write the result",
    "status": "print how far the job is; change nothing",
    "verify": "check that the destinations hold what was delivered",
    "gaps": "compare the logs with the table by day; change nothing",
    "check": "check that everything is ready, and estimate the work; change nothing",
}
RESUMED = ("run", "plan", "work", "report")
CONFIG_FILE_PAGE = (
    "https://github.com/tutor-contrib/tutor-contrib-transform-logs/blob/main/docs/reference/config-file.rst"
)
# module -> the distribution that brings it
NEEDED = {"event_routing_backends": "edx-event-routing-backends", "eventtracking": "event-tracking"}
NEEDED_FOR_OBJECT_STORES = {"libcloud": "apache-libcloud"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; returns the exit status. ``util.phase_outcome`` reports more of it to whoever started the job."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    config = None
    interruptions = Interruptions()
    is_resumed = options.phase in RESUMED
    try:
        interruptions.install()
        for stream in (sys.stdout, sys.stderr):
            # An object's name can be any bytes, and a terminal may not know all characters.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are text streams here
        try:
            config = read(_text(options.config))
            console.set_up(config.log_format, config.quiet)
            console.show_log(console.say, console.tell_wait)
            is_resumed |= config.repair
            outcome = _do(options, config, interruptions)
        except ConfigError as error:
            outcome = _fail(ExitStatus.FAILED, f"Config: {error}.")
        except JobError as error:
            outcome = _fail(error.status, str(error) if is_resumed else without_resuming(str(error)))
        except Exception as error:
            console.tell_traceback()
            detail = hide_known(f"{type(error).__name__}: {error}")
            outcome = _fail(ExitStatus.FAILED, f"The job failed: {detail}. Please report this.")
    except Interrupted as interruption:
        # Also while it was saying what has failed.
        what_next = "Run again to resume." if is_resumed else "Run the same command again."
        outcome = _fail(ExitStatus.STOPPED, f"Interrupted ({interruption.name}). {what_next}")
    finally:
        interruptions.uninstall()
    if config is not None and (config.notify or config.metrics_file):
        from .report.after_run import tell_end

        outcome = tell_end(config, options.phase, outcome, time.monotonic() - began)
    try:
        phase_outcome.write(outcome)
    except OSError as error:
        console.say(f"The outcome of the phase can't be written: {error}.", level=console.WARNING)
    return outcome.status


def _do(options: argparse.Namespace, config: JobConfig, interruptions: Interruptions) -> PhaseOutcome:
    if options.phase == "check":
        from .check.check import Check

        return PhaseOutcome(Check(config).run(lambda: _set_up_django(config)))
    _set_up_django(config)
    return _run_phase(options.phase, config, interruptions, _share(options.share))


def _run_phase(phase: str, config: JobConfig, interruptions: Interruptions, share: tuple[int, int]) -> PhaseOutcome:
    # Imported here: it needs the LMS.
    from . import phases

    if phase == "plan":
        return phases.plan(config, share[1])
    if phase == "work":
        return phases.work(config, interruptions, share)
    if phase == "report":
        return phases.report(config)
    if phase == "status":
        return phases.status(config)
    if phase == "verify":
        return phases.verify(config, interruptions)
    if phase == "gaps":
        return phases.gaps(config)
    return phases.run(config, interruptions)


def _parser() -> argparse.ArgumentParser:
    phases = "\n".join(f"  {phase:<8}{meaning}" for phase, meaning in PHASES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tutor_transform_logs.lms_job",
        description=f"Run the job, or one of its phases, in a Django project such as the LMS.\n\nphases:\n{phases}",
        epilog=f"The config file is described in\n{CONFIG_FILE_PAGE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("phase", choices=PHASES, metavar="PHASE", help="one of the phases above")
    parser.add_argument(
        "--share",
        metavar="I/N",
        default="0/1",
        help="work: process share I of N, counted from 0 (default: 0/1); plan: cut the work for N shares",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="the job's config file (JSON); - for stdin")
    return parser


def _share(text: str) -> tuple[int, int]:
    index, _, of = text.partition("/")
    if not (index.isdecimal() and of.isdecimal() and int(index) < int(of)):
        raise ConfigError(
            "--share",
            f"{text} does not name a share",
            "I/N, share I of N counted from 0, such as 0/2 and 1/2 for two processes",
        )
    return int(index), int(of)


def _text(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError("--config", f"{path} can't be read ({reason})", "a JSON file") from None


def _set_up_django(config: JobConfig) -> None:
    """Load the LMS. Says what is missing before anything else is done."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise JobError(
            "DJANGO_SETTINGS_MODULE is not set: the job runs inside the LMS or another Django project. "
            "Set it to that project's settings."
        )
    storages = [config.source, config.ledger, *([config.destination] if config.destination else [])]
    needed = dict(NEEDED)
    if any(storage.needs_libcloud for storage in storages):
        needed |= NEEDED_FOR_OBJECT_STORES
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise JobError(
            f"The LMS image lacks {' and '.join(missing)}, which this job needs.\n"
            "Run: tutor images build transform-logs && "
            "tutor config save --set TRANSFORM_LOGS_DOCKER_IMAGE=transform-logs && "
            "tutor local do init --limit=transform_logs"
        )
    import django
    from django.conf import settings
    from django.utils.log import configure_logging

    try:
        exempt = tuple(NAMES.values()) if config.log_statements else ()
        lms_logging.take_over(exempt)
        configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
        lms_logging.take_over(exempt)
        # Otherwise setup() would do it a second time, and undo this.
        settings.LOGGING_CONFIG = None
        django.setup()
    except Exception as error:
        # Whatever the settings and the applications in them raise.
        name = os.environ["DJANGO_SETTINGS_MODULE"]
        detail = " ".join(f"{type(error).__name__}: {error}".split())
        raise JobError(
            f"The LMS can't be loaded with the settings {name} ({detail}): fix them, or the image."
        ) from None


def _fail(status: int, message: str) -> PhaseOutcome:
    console.error(message, status)
    return PhaseOutcome(status, message=message)


if __name__ == "__main__":
    sys.exit(main())

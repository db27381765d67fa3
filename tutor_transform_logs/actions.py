"""The options that say what to do: which of them mean something together, and which one asks first."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import combinations

import click
from tutor import fmt
from tutor.exceptions import TutorError

from tutor_transform_logs.lms_job.config.schema import JobConfig
from tutor_transform_logs.lms_job.util import console
from tutor_transform_logs.lms_job.util.formatting import wrapped

# What to do, and what of it can be done together.
ACTIONS = ("check", "status", "gaps", "verify", "repair", "restart", "retry_failed")
COMPATIBLE_ACTIONS = {("verify", "repair"), ("check", "restart"), ("check", "retry_failed")}


def check_combination(options: Mapping[str, object]) -> None:
    """Raises ``TutorError`` for two options of which one would be ignored."""
    for first, second in combinations([name for name in ACTIONS if options.get(name)], 2):
        if (first, second) not in COMPATIBLE_ACTIONS:
            one, other = (f"--{name.replace('_', '-')}" for name in (first, second))
            raise TutorError(f"{one} and {other} can't be combined: give one of them.")


def confirm_restart(config: JobConfig) -> None:
    """Ask whether to start over. Raises ``click.Abort`` for a no, and ``TutorError`` if there is nobody to ask."""
    fmt.echo_alert(wrapped(f"--restart reads all of {config.source} again. {_effect(config)}", console.columns()))
    try:
        click.confirm(fmt.question("Start over?"), abort=True)
    except click.Abort:
        if not sys.stdin.isatty():
            raise TutorError("--restart asks before it starts over. Where nobody can answer, add --yes") from None
        raise


def _effect(config: JobConfig) -> str:
    if config.destination is not None:
        return "Files are written again, beside those that are there."
    if config.transformer_type == "caliper":
        return "The destination gets every event a second time, with the same id."
    return "Statements that the destination has are recognised, and not stored again."

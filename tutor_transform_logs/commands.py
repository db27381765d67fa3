"""``tutor local|dev|k8s do transform-tracking-logs`` and the ``tutor transform-logs`` group."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tutor import config as tutor_config
from tutor import env as tutor_env
from tutor import fmt, plugins
from tutor.commands.k8s import K8sContext
from tutor.exceptions import TutorError

from tutor_transform_logs import (
    actions,
    aspects,
    cluster_config,
    effective,
    images,
    job_config,
    kubernetes,
    ledger_commands,
    manifests,
    notification,
    rendering,
    reports,
)
from tutor_transform_logs.lms_job.config.settings import TRANSFORMER_TYPES
from tutor_transform_logs.lms_job.report.host_paths import HOST_DATA
from tutor_transform_logs.lms_job.util import console
from tutor_transform_logs.lms_job.util.errors import ExitStatus
from tutor_transform_logs.lms_job.util.formatting import wrapped
from tutor_transform_logs.manifests import RUN
from tutor_transform_logs.options import HELP, HELP_ALL_OPTION, OPTIONS, GroupedOptions

SERVICE = manifests.NAME
SET_IMAGE = "Run: tutor config save --set TRANSFORM_LOGS_DOCKER_IMAGE=..."

# Endings that are not errors of Tutor's: the job has said how it ended, and what to do. Any other status is a failure
# like any task's.
TOLD_STATUSES = (ExitStatus.REJECTED, ExitStatus.STOPPED)


class ReplayCommand(GroupedOptions):
    """The command with the job's own exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            notification.tell_end(ctx, ExitStatus.STOPPED)
            raise
        except TutorError as error:
            status = status_of_job(error)
            notification.tell_end(ctx, ExitStatus.FAILED if status is None else status)
            if status in TOLD_STATUSES or (status == ExitStatus.FAILED and ctx.params["check"]):
                ctx.exit(status)
            raise
        notification.tell_end(ctx, ExitStatus.DONE)
        return result


def status_of_job(error: TutorError) -> int | None:
    """The exit status of the job's container; with compose, Tutor has it in the text of its error only."""
    if isinstance(error, kubernetes.JobEnded):
        return error.status
    found = re.match(r"Command failed with status (\d+): docker compose .*", str(error.args[0]), re.DOTALL)
    return int(found[1]) if found and f" {SERVICE}-job " in found[0] else None


def transform_tracking_logs_job(
    source_config: str | None,
    destination_config: str | None,
    deduplicate: bool,
    yes: bool,
    check: bool,
    status: bool,
    verify: bool,
    gaps: bool,
    **options: Any,
) -> Iterator[tuple[str, str]]:
    """Check everything, write the job's config file and yield the tasks for Tutor to run: (service, shell script).

    Nine parameters: the command's options, those for settings together.
    """
    actions.check_combination({"check": check, "status": status, "gaps": gaps, "verify": verify, **options})
    click_context = click.get_current_context()
    context = click_context.obj
    site = tutor_config.load(context.root)
    job_config.check_names(site)
    values = job_config.from_settings(site)
    for role, text in (("source", source_config), ("destination", destination_config)):
        if text is not None:
            values.update(job_config.from_erb(role, text))
    phase = "status" if status else "verify" if verify or options["repair"] else RUN
    phase = "check" if check else "gaps" if gaps else phase
    image = options.pop("docker_image")
    values.update({key: list(value) if isinstance(value, tuple) else value for key, value in given(options)})
    user_values, values = values, job_config.with_site_defaults(values, site)
    on_kubernetes = isinstance(context, K8sContext)
    if on_kubernetes:
        if image:
            raise TutorError(f"--docker-image: on Kubernetes it is in the manifests. {SET_IMAGE}")
        values = cluster_config.with_cluster_defaults(values, site)
    checked = job_config.check(values)
    values = job_config.with_fixed_times(values, checked)
    if not (status or checked.dry_run):
        aspects.check_server(user_values, checked, site)
    rendering.check_rendered(context.root)
    outdated = "" if image else images.describe_outdated(site)
    if outdated:
        fmt.echo_alert(wrapped(outdated, console.columns()))
    if options["restart"] and phase == RUN and not (yes or checked.dry_run):
        actions.confirm_restart(checked)
    destination = ""
    if phase in (RUN, "check") and not (checked.dry_run or checked.quiet):
        destination = aspects.describe_destination(user_values, checked, site)
    if on_kubernetes:
        cluster_config.check(values, site)
        _say(destination)
        replay = kubernetes.Replay(context.job_runner(site), site)
        notification.prepare(click_context, checked, phase, lambda: replay.summary)
        replay.run(job_config.encode(values), phase)
    else:
        task = compose_task(click_context, values, images.full_name(image or "", site), phase)
        notification.prepare(click_context, checked, phase, notification.outcome_file(context.root))
        _say(destination)
        yield task
    if deduplicate and phase == RUN:
        yield from deduplication()


def _say(text: str) -> None:
    if text:
        fmt.echo_info(wrapped(text, console.columns(), "    "))


def compose_task(context: click.Context, values: dict[str, Any], image: str, phase: str) -> tuple[str, str]:
    """Write the job's config file, which goes when the command ends; gives the task that runs the job with it."""
    path = context.with_resource(rendering.config_file(context.obj.root, job_config.encode(values)))
    # docker compose reads these: see patches/.
    os.environ[HOST_DATA] = tutor_env.data_path(context.obj.root, *reports.HOST_FOLDER)
    if image:
        os.environ["TRANSFORM_LOGS_JOB_IMAGE"] = image
    return SERVICE, manifests.script(phase, path.name)


def add_init_task(tasks: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Filter of Tutor's CLI_DO_INIT_TASKS: make ERB's tables where they are missing, in the job's own image."""
    context = click.get_current_context(silent=True)
    if context is None:
        return tasks
    service = manifests.service("init")
    if not isinstance(context.obj, K8sContext):
        service = SERVICE
        # The job's service mounts it, and Docker would make it for root alone.
        rendering.make_private_folder(context.obj.root)
    return [*tasks, (service, tutor_env.read_template_file("transform_logs", "tasks", "init.sh"))]


def given(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options that stand on the command line."""
    return ((key, value) for key, value in options.items() if value is not None and value != ())


def deduplication() -> Iterator[tuple[str, str]]:
    """The task of Aspects' own ``--deduplicate``; none if there is no Aspects."""
    if not plugins.is_loaded("aspects"):
        fmt.echo_info(
            "--deduplicate: nothing to do. Aspects is not enabled, and statements keep their ids at every run, "
            "so that a learning record store holds each of them once."
        )
        return
    yield "clickhouse", tutor_env.read_template_file("aspects", "jobs", "init", "clickhouse", "deduplicate.sh")


transform_tracking_logs = ReplayCommand(
    "transform-tracking-logs",
    callback=transform_tracking_logs_job,
    params=[*(option for _, option in OPTIONS), HELP_ALL_OPTION],
    help=HELP,
    short_help="Replay tracking logs as xAPI or Caliper",
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)


@click.group("transform-logs", short_help="Replay tracking logs")
def transform_logs() -> None:
    """Commands of the transform_logs plugin. The replay itself: tutor local do transform-tracking-logs --help"""


type_option = click.option(
    "--type",
    "type_",
    type=click.Choice(TRANSFORMER_TYPES),
    default="xapi",
    show_default=True,
    help="Type of the statements.",
)


@transform_logs.command()
@type_option
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("transform-logs-demo"),
    show_default=True,
    help="Folder for the statements, the dead letters and the report.",
)
@click.pass_context
def demo(ctx: click.Context, type_: str, output: Path) -> None:
    """Replay sample logs without Open edX, Docker or an LRS.

    Runs the same job as tutor local do transform-tracking-logs, on an embedded LMS with sample users and courses.
    """
    try:
        from tutor_transform_logs.demo.runner import run_demo
    except ImportError as error:
        raise TutorError(
            f"The demo needs {error.name}, which is not installed. "
            "Run: pip install 'tutor-contrib-transform-logs[demo]'"
        ) from error
    ctx.exit(run_demo(type_, output))


@transform_logs.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@type_option
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    default=100_000,
    show_default=True,
    help="Maximum number of lines to read; 0 reads all.",
)
@click.option("--statements", is_flag=True, help="Print the first statement of each type whole.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the output: text for people, json for programs.",
)
@click.pass_context
def preview(ctx: click.Context, files: tuple[str, ...], type_: str, lines: int, statements: bool, format_: str) -> None:
    """Show what tracking logs hold, without Open edX.

    Counts the events by name, and shows which of them are made into statements, which are not and why, and the first
    statement of each type. A FILE may be compressed (gzip, bzip2, xz, zstd), an archive (tar, ZIP), a directory, or -
    for standard input. Users and courses are not looked up: those that an event names are assumed to exist. Nothing is
    sent, and nothing is written.
    """
    # Six parameters: the command's options.
    from tutor_transform_logs.demo.previewer import run_preview

    ctx.exit(run_preview(files, type_, lines, format_, statements))


for command in (effective.show_config, *ledger_commands.COMMANDS):
    transform_logs.add_command(command)

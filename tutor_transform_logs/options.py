"""The options of the replay, in the groups that ``--help`` and ``--help-all`` list them in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from tutor_transform_logs.lms_job.config.setting import CHOICE, FLAG, LIST, MANIFESTS, ONE_RUN, TEXTS, Setting
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.lms_job.util.errors import ExitStatus
from tutor_transform_logs.settings import SETTINGS

ACTION_OPTIONS = "What to do"
OFTEN_OPTIONS = "Often used"
ERB_OPTIONS = "As event-routing-backends and Aspects spell it"
# The settings whose options --help lists; --help-all lists all.
USED_OFTEN = (
    "source_provider", "source_container", "source_prefix", "destination_provider", "destination_container",
    "transformer_type", "since", "until", "course", "limit", "workers", "max_events_per_second",
)  # fmt: skip
# The settings and options that say what to do.
ACTION_KEYS = (
    "check", "dry_run", "status", "verify", "repair", "gaps", "retry_failed", "restart", "yes",
)  # fmt: skip

DOCUMENTATION = "https://github.com/tutor-contrib/tutor-contrib-transform-logs/tree/main/docs"

HELP = f"""Replay tracking logs: transform them to xAPI or Caliper and deliver them.

With nothing set, it reads the LMS's own tracking log and sends xAPI to where the site has its statements: Aspects'
ClickHouse, or every learning record store that the LMS is configured for. Run it again to replay what is new or was not
finished.

\b
  tutor local do transform-tracking-logs --check
  tutor local do transform-tracking-logs --dry-run
  tutor local do transform-tracking-logs \\
    --destination-provider LOCAL \\
    --destination-container out

An option replaces a setting for one run: --batch-size stands for TRANSFORM_LOGS_BATCH_SIZE. To save the setting:

\b
  tutor config save --set TRANSFORM_LOGS_BATCH_SIZE=500

Exit status: {"; ".join(f"{status} {status.summary}" for status in ExitStatus)}.
"""

SECRETS = ", ".join(setting.name for setting in SETTINGS if setting.secret)
IN_MANIFESTS = ", ".join(setting.name for setting in SETTINGS if setting.scope == MANIFESTS)
WITHOUT_OPTION = (
    f"Settings that may hold a secret have no option: {SECRETS}. Nor have those that Kubernetes has in its manifests: "
    f"{IN_MANIFESTS}."
)
# Not wrapped: a link that is broken over two lines can't be followed.
WHERE_TO_READ = f"\b\nDocumentation:\n{DOCUMENTATION}"

# click writes no help that is narrower than this, and the terminal would break its lines.
CLICKS_LEAST_WIDTH = 50
LEAST_WIDTH = 30


class GroupedOptions(click.Command):
    """A command with its options in groups: in ``--help`` those that people use, in ``--help-all`` all."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        columns = shutil.get_terminal_size().columns
        if columns < CLICKS_LEAST_WIDTH + 2:
            extra["terminal_width"] = max(columns - 2, LEAST_WIDTH)
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_option("--lrs-urls", args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shows_all = ctx.meta.get(HELP_ALL, False)
        groups: dict[str, list[tuple[str, str]]] = {ACTION_OPTIONS: []}
        if not shows_all:
            groups[OFTEN_OPTIONS] = []
        for param in sorted(self.get_params(ctx), key=_place):
            title = GROUPS.get(str(param.name), "Help")
            if not shows_all and title not in (ACTION_OPTIONS, "Help"):
                if param.name not in USED_OFTEN:
                    continue
                title = OFTEN_OPTIONS
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(title, []).append(record if shows_all else _short(record))
        # On a narrow terminal two columns would break the settings' names.
        col_max = 30 if formatter.width >= 74 else 6
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records, col_max=col_max)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.epilog = f"{WITHOUT_OPTION}\n\n{WHERE_TO_READ}" if ctx.meta.get(HELP_ALL, False) else WHERE_TO_READ
        super().format_epilog(ctx, formatter)


def _place(param: click.Parameter) -> int:
    """Actions in the order of their list, then what people use in the order of theirs, then the rest as it is."""
    order = (*ACTION_KEYS, *USED_OFTEN)
    return order.index(str(param.name)) if param.name in order else len(order)


def _short(record: tuple[str, str]) -> tuple[str, str]:
    """The names and the meaning of an option without the name of its setting, which follows from that of the option."""
    names, text = record
    before, bracket, after = text.rpartition("[TRANSFORM_LOGS_")
    return (names, f"{before}[{after.partition('; ')[2]}") if bracket else record


def repeat_option(option: str, args: Sequence[str]) -> list[str]:
    """``args`` with the option before each of its values: argparse has ``nargs="+"``, and click has not."""
    result: list[str] = []
    values = 0
    for arg in args:
        if arg.replace("_", "-") == option:
            values = 1
        elif arg.startswith("-"):
            values = 0
        elif values:
            if values > 1:
                result.append(option)
            values += 1
        result.append(arg)
    return result


def _options() -> Iterator[tuple[str, click.Option]]:
    """Each option with the title that it is listed under: those that are not settings, then one for each setting."""
    for setting in BY_KEY.values():
        if setting.scope == ONE_RUN:
            yield ACTION_OPTIONS, click.Option([setting.option, setting.key], is_flag=True, help=setting.meaning)
    for name, text in (
        ("yes", "With --restart: do not ask."),
        ("check", "Check that everything is ready, and estimate what is left to do. Change nothing."),
        ("status", "Print how far the job is. Start nothing."),
        (
            "verify",
            "Transform delivered logs again, and check that the destination has the statements. Send nothing.",
        ),
        ("gaps", "With ClickHouse: compare the logs with the table by day, and print what is missing. Send nothing."),
    ):
        yield ACTION_OPTIONS, click.Option([f"--{name}"], is_flag=True, help=text)
    for setting in SETTINGS:
        if not setting.secret and setting.scope != MANIFESTS:
            yield ACTION_OPTIONS if setting.key in ACTION_KEYS else setting.group, _setting_option(setting)
    for role in ("source", "destination"):
        text = f"All {role} settings in one JSON object; a secret in it shows in the process list."
        yield ERB_OPTIONS, click.Option([f"--{role}_config", f"{role}_config"], metavar="JSON", help=text)
    text = "With Aspects: run its deduplication of ClickHouse after the job."
    yield ERB_OPTIONS, click.Option(["--deduplicate"], is_flag=True, help=text)


def _setting_option(setting: Setting) -> click.Option:
    text = f"{setting.meaning} [{setting.name}; default: {setting.shown_default}]"
    if setting.kind == FLAG:
        names = f"{setting.option}/--no-{setting.option.removeprefix('--')}"
        return click.Option([names, setting.key], default=None, help=text)
    return click.Option(
        [setting.option, setting.key],
        metavar=_metavar(setting),
        multiple=setting.kind in (LIST, TEXTS),
        help=text,
        shell_complete=offer(setting),
    )


def _metavar(setting: Setting) -> str:
    """What stands for the value. The choices, where there are no more than fit: the check is the job's own."""
    if setting.kind == CHOICE:
        return f"[{'|'.join(setting.offered)}]"
    return setting.metavar or setting.kind


def offer(setting: Setting) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What the shell completes a value of this setting to."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [value for value in setting.offered if value.lower().startswith(incomplete.lower())]

    return complete


def _print_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[HELP_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


HELP_ALL = f"{__name__}.help_all"
HELP_ALL_OPTION = click.Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_all,
    help="Show all options, with the names of their settings, and exit.",
)
OPTIONS = tuple(_options())
GROUPS = {str(option.name): title for title, option in OPTIONS}

"""Lists in the documentation that are generated from the code, so that they are always up to date.

``python docs/reference.py`` writes those of README.rst and of the pages in docs/, in plain reST, so that GitHub shows
them, too. ``python docs/reference.py --check`` only checks them. Sphinx makes entries that other pages can refer to of
those in docs/, and the lists of modules: see ``directives``.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from tutor_transform_logs.commands import transform_logs
from tutor_transform_logs.lms_job.config.setting import PREFIX, Setting
from tutor_transform_logs.lms_job.report.glossary import REASON_FIXES
from tutor_transform_logs.lms_job.util.errors import ExitStatus
from tutor_transform_logs.options import OPTIONS
from tutor_transform_logs.settings import BY_NAME, SETTINGS

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "tutor_transform_logs"
BEGIN = ".. {} begin: written by docs/reference.py"
END = ".. {} end"
# The settings that most sites look at first. All are on the page docs/reference/settings.rst.
IN_README = (
    "source_provider", "source_container", "source_prefix", "destination_provider", "destination_container",
    "lrs_endpoints", "transformer_type", "since", "until", "workers", "max_events_per_second", "docker_image",
)  # fmt: skip

OF_SETTINGS = frozenset(setting.key for setting in SETTINGS)
OF_OPTIONS = {str(option.name): option for _, option in OPTIONS}


def groups() -> dict[str, list[Setting]]:
    """The settings, grouped by the title above them."""
    groups: dict[str, list[Setting]] = {}
    for setting in SETTINGS:
        groups.setdefault(setting.group, []).append(setting)
    return groups


def own_options() -> Iterator[click.Option]:
    """The options of the replay that are not those of a setting."""
    return (option for _, option in OPTIONS if option.name not in OF_SETTINGS)


def help_of(option: click.Option) -> tuple[str, str] | None:
    """An option's names and meaning, as ``--help`` has them; ``None`` for one that it does not show."""
    return option.get_help_record(click.Context(click.Command("job")))


def plain(text: str) -> str:
    """A help text as reST, with each ``*`` escaped."""
    return re.sub(r"([\\*`|]|_(?=\W|$))", r"\\\1", text)


def readme_settings() -> Iterator[str]:
    """The settings that most sites look at first, as list items with default and meaning."""
    for key in IN_README:
        setting = BY_NAME[f"{PREFIX}{key.upper()}"]
        secret = " *May hold a secret, so it has no option.*" if setting.secret else ""
        yield f"* ``{setting.name}`` ({plain(setting.shown_default)}): {plain(setting.meaning)}{secret}"
    yield ""


def readme_options() -> Iterator[str]:
    """The options that are not those of a setting, as list items."""
    for option in own_options():
        record = help_of(option)
        if record is not None:
            yield f"* ``{record[0]}``: {plain(record[1])}"
    yield ""


def setting_entries() -> Iterator[str]:
    """The settings in their groups, as entries that other pages can refer to (``:confval:``)."""
    for title, settings in groups().items():
        yield f".. rubric:: {title}"
        yield ""
        for setting in settings:
            yield f".. confval:: {setting.name}"
            yield ""
            yield f"   {plain(setting.meaning)}"
            yield ""
            option = f":option:`{setting.option}`" if setting.key in OF_OPTIONS else "none"
            secret = ", because it may hold a secret" if setting.secret else ""
            yield f"   Kind: {setting.kind.lower()}. Default: {plain(setting.shown_default)}. Option: {option}{secret}."
            yield ""


def option_entries() -> Iterator[str]:
    """The options of the replay as entries (``:option:``): those of their own first, then those of settings."""
    for option in own_options():
        record = help_of(option)
        if record is not None:
            yield from _option_entry(_names(option), plain(record[1]))
    for setting in SETTINGS:
        if setting.key in OF_OPTIONS:
            yield from _option_entry(_names(OF_OPTIONS[setting.key]), f":confval:`{setting.name}` for one run.")


def status_entries() -> Iterator[str]:
    """The exit statuses with what leads to each and what to do next, as a definition list."""
    for status in ExitStatus:
        yield str(status)
        text = f"{status.summary.capitalize()}. {status.meaning} {status.next_step}".rstrip()
        yield "    " + re.sub(r"(TRANSFORM_LOGS_[A-Z_]+)", r":confval:`\1`", text)
        yield ""


def readme_statuses() -> Iterator[str]:
    """The exit statuses, each with a short meaning, as list items."""
    for status in ExitStatus:
        yield f"* {status}: {' '.join(filter(None, (f'{status.summary}.', status.next_step)))}"
    yield ""


def fix_entries() -> Iterator[str]:
    """What to do about dead letters, by their reason, as list items."""
    for reason, fix in REASON_FIXES.items():
        yield f"* ``{reason}``: {plain(fix)}"
    yield ""


def command_entries() -> Iterator[str]:
    """The commands of ``tutor transform-logs`` with their arguments and options."""
    context = click.Context(transform_logs, info_name="tutor transform-logs")
    for name, command in transform_logs.commands.items():
        inner = click.Context(command, info_name=name, parent=context)
        options = [param for param in command.params if isinstance(param, click.Option)]
        arguments = [piece for piece in command.collect_usage_pieces(inner) if piece != command.options_metavar]
        yield f".. rubric:: ``{' '.join([inner.command_path, *arguments])}``"
        yield ""
        yield from inspect.cleandoc(command.help or "").splitlines()
        yield ""
        yield f".. program:: {inner.command_path}"
        yield ""
        for option in options:
            record = option.get_help_record(inner)
            if record is not None:
                yield from _option_entry(_names(option), plain(record[1]))


def _names(option: click.Option) -> str:
    """``--name VALUE``, or ``--name, --no-name``."""
    names = [*option.opts, *option.secondary_opts]
    kind = option.type
    shown = f"[{'|'.join(map(str, kind.choices))}]" if isinstance(kind, click.Choice) else kind.name.upper()
    value = "" if option.is_flag else f" {option.metavar or shown}"
    return ", ".join(f"{name}{value}" for name in names if name.startswith("-"))


def _option_entry(names: str, text: str) -> Iterator[str]:
    yield f".. option:: {names}"
    yield ""
    yield f"   {text}"
    yield ""


def module_entries(names: str) -> Iterator[str]:
    """Modules, each with the summary of its docstring. A name that ends in ``/`` stands for all modules of a folder."""
    for name in names.split():
        paths = sorted((PACKAGE / name).glob("*.py")) if name.endswith("/") else [PACKAGE / f"{name}.py"]
        for path in paths:
            text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
            if path.name == "__init__.py":
                yield from text.splitlines()
            else:
                yield f"``{path.name}``"
                yield from (f"    {line}" for line in text.splitlines())
            yield ""


def with_list(text: str, name: str, lines: Iterator[str]) -> str:
    """``text`` with what stands between the marks of ``name`` replaced by ``lines``."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, "", *lines, ""]) + end + after


def without_sphinx(entries: Iterator[str]) -> Iterator[str]:
    """``entries`` as definition lists without Sphinx's directives and roles."""
    text = "\n".join(entries)
    text = re.sub(r"^\.\. program:: .*\n\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\.\. rubric:: (``.*``)$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^\.\. rubric:: (.*)$", r"**\1**", text, flags=re.MULTILINE)
    text = re.sub(r"^\.\. (?:confval|option):: (.*)\n\n", r"``\1``\n", text, flags=re.MULTILINE)
    yield from re.sub(r":(?:confval|option):`(.*?)`", r"``\1``", text).split("\n")


# File -> the name of each list in it -> its lines.
LISTS: dict[str, dict[str, Callable[[], Iterator[str]]]] = {
    "README.rst": {"settings": readme_settings, "options": readme_options, "statuses": readme_statuses},
    "docs/reference/settings.rst": {"settings": lambda: without_sphinx(setting_entries())},
    "docs/reference/options.rst": {
        "replay-options": lambda: without_sphinx(option_entries()),
        "host-commands": lambda: without_sphinx(command_entries()),
    },
    "docs/reference/dead-letters.rst": {"fixes": fix_entries},
    "docs/reference/exit-status.rst": {"exit-statuses": lambda: without_sphinx(status_entries())},
}


def main() -> int:
    differ = []
    for file, lists in LISTS.items():
        text = wanted = (REPOSITORY / file).read_text(encoding="utf-8")
        for name, lines in lists.items():
            wanted = with_list(wanted, name, lines())
        if text == wanted:
            continue
        differ.append(file)
        if "--check" not in sys.argv[1:]:
            (REPOSITORY / file).write_text(wanted, encoding="utf-8")
    if "--check" not in sys.argv[1:] or not differ:
        return 0
    print(f"{', '.join(differ)}: not what the code says. Run python docs/reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

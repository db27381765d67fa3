"""Writes the tables of settings and options in README.rst from the code, so that they can't drift.

``python docs/reference.py`` rewrites them, ``python docs/reference.py --check`` only says whether they are right.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tutor_transform_logs.commands import OPTIONS
from tutor_transform_logs.settings import SETTINGS, Setting

README = Path(__file__).resolve().parent.parent / "README.rst"
BEGIN = ".. {} begin: written by docs/reference.py"
END = ".. {} end"


def settings_table() -> Iterator[str]:
    """Every setting with its default and meaning, in groups."""
    groups: dict[str, list[Setting]] = {}
    for setting in SETTINGS:
        groups.setdefault(setting.group, []).append(setting)
    for title, settings in groups.items():
        yield f"**{title}**"
        yield ""
        for setting in settings:
            secret = " *May hold a secret; has no option.*" if setting.secret else ""
            yield f"``{setting.name}`` (default: {setting.shown_default})"
            yield f"    {setting.meaning}{secret}"
            yield ""


def options_table() -> Iterator[str]:
    """The options that are not settings, and the spellings of ERB and Aspects."""
    of_settings = {setting.key for setting in SETTINGS}
    for _, option in OPTIONS:
        if isinstance(option, click.Option) and option.name not in of_settings:
            record = option.get_help_record(click.Context(click.Command("job")))
            if record is not None:
                yield f"``{record[0]}``"
                yield f"    {record[1]}"
                yield ""


def with_table(text: str, name: str, lines: Iterator[str]) -> str:
    """``text`` with what stands between the marks of ``name`` replaced by ``lines``."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, "", *lines, ""]) + end + after


def main() -> int:
    text = README.read_text(encoding="utf-8")
    wanted = with_table(with_table(text, "settings", settings_table()), "options", options_table())
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("README.rst does not match the settings in the code: run python docs/reference.py", file=sys.stderr)
        return int(text != wanted)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

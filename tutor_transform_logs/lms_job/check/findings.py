"""The findings of ``--check``, printed one by one."""

from __future__ import annotations

from ..util import console
from ..util.formatting import printable, wrapped

OK, NOTE, PROBLEM = "ok", "note", "PROBLEM"
INDENT = 9


class Findings:
    """Prints findings with a hanging indent and counts the problems."""

    def __init__(self, columns: int | None) -> None:
        """``columns``: the terminal's; ``None``: nothing is wrapped."""
        self.columns = columns
        self.width = columns or console.MAX_COLUMNS
        """What tables should fit into."""
        self.problems = 0

    def ok(self, text: str) -> None:
        self._say(OK, text)

    def note(self, text: str) -> None:
        """Something to know that does not prevent a run."""
        self._say(NOTE, text)

    def problem(self, text: str) -> None:
        """Something that prevents a run or soon stops it; the text says what to do."""
        self.problems += 1
        self._say(PROBLEM, text)

    def table(self, lines: list[str], event: str, fields: console.Fields) -> None:
        """Rows for people, ``fields`` for programs."""
        console.result("\n".join(lines), event, fields=fields)

    def end(self, text: str) -> None:
        """The last line."""
        console.result(
            "\n" + "\n".join(self._wrap(text, 0)), "checked", fields={"message": text, "problems": self.problems}
        )

    def _say(self, kind: str, text: str) -> None:
        lines: list[str] = []
        for paragraph in text.splitlines():
            lines += self._wrap(printable(paragraph), INDENT)
        labels = [kind, *[""] * len(lines)]
        shown = "\n".join(f"{label:<{INDENT}}{line}" for label, line in zip(labels, lines, strict=False))
        level = console.ERROR if kind == PROBLEM else console.INFO
        console.result(shown, "finding", level, {"finding": kind.lower(), "message": text})

    def _wrap(self, text: str, indent: int) -> list[str]:
        return wrapped(text, None if self.columns is None else self.columns - indent).splitlines()

"""The commands that pages show: what is behind ``$ `` in their literal blocks, and the output that follows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Command:
    """A shell command of a page, and what the page says that it prints: nothing, if nothing is shown."""

    page: str
    line: int
    text: str
    output: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def commands(path: Path) -> Iterator[Command]:
    """The commands of a page, in order. A ``\\`` at its end takes a command on to the next line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        found = re.match(r"( +)\$ (.*)", lines[number])
        number += 1
        if found is None:
            continue
        first, indent, text = number, found[1], found[2]
        while text.endswith("\\"):
            text += f"\n{lines[number]}"
            number += 1
        output = []
        while number < len(lines) and lines[number].startswith(indent) and not lines[number].startswith(f"{indent}$ "):
            output.append(lines[number].strip())
            number += 1
        yield Command(str(path.relative_to(REPOSITORY)), first, text, tuple(output))


def missing(output: tuple[str, ...], printed: str) -> list[str]:
    """The lines of ``output`` that ``printed`` lacks, in this order; other lines may stand between them.

    ``...`` stands for anything, and any space for any other.
    """
    squeezed = [" ".join(line.split()) for line in printed.splitlines()]
    at = 0
    gone = []
    for line in output:
        if line == "...":
            continue
        detail = re.escape(" ".join(line.removesuffix("...").split())).replace(re.escape("..."), ".*")
        found = next((i for i in range(at, len(squeezed)) if re.search(detail, squeezed[i])), None)
        if found is None:
            gone.append(line)
        else:
            at = found + 1
    return gone

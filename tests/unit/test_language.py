"""Messages, help, docs, docstrings and comments are in plain English: see ``docs/glossary.rst`` for the terms."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# It holds what it searches for.
THIS = Path(__file__).resolve()
PACKAGE = REPOSITORY / "tutor_transform_logs"
# Where tests keep shell scripts and Dockerfiles, most of them without an ending.
SCRIPTS = [path for path in sorted((REPOSITORY / "tests").rglob("*")) if path.is_file() and path.suffix in ("", ".sh")]

# Patterns that match whole words, and what to write instead.
BANNED = {
    r"rooms": "modules, folders",
    r"heaps": "sets",
    r"words": "detail, text, terms",
    r"alike": "equal, equivalent",
    r"standing": "status, current",
    r"mend(s|ed|ing)?": "fix",
    r"passed over": "skipped",
    r"be had": "be available, be set",
    r"what it leaves behind": "name the files",
    r"anew": "again, start over",
    r"(is|are) taken off": "is removed",
    r"at it": "say who does what",
    r"what became of": "the outcome of",
    r"(look|looks|looking) whether": "check whether",
    r"so many": "the number of",
    r"set aside": "dead-lettered",
    r"at fault": "rejected, invalid",
    r"in words": "as text",
    r"short[ -]?cuts?": "fast path",
    r"the long way": "fallback",
    r"already there": "duplicate",
    r"out of reach": "unavailable",
    r"ends open": "has no line end",
    r"lay over": "cover",
    r"(?<!there\W)(is|are) no (?!longer\b|more\b|such\b)\w+": "is not a",
}

# Where a pattern is right: the file, and the reason.
EXCEPTIONS: dict[str, dict[str, str]] = {
    r"words": {
        "changelog.d/20261125_110000_plain_names.md": "the old name of the field, for those who used it",
        "tutor_transform_logs/lms_job/model/dead_letters.py": "the name of the field in ledgers of version 1",
        "tests/job/test_old_ledgers.py": "the name of the field in ledgers of version 1",
    },
}


@dataclass(frozen=True)
class Text:
    """A text that somebody reads, and the line of the file where it begins."""

    line: int
    text: str


def texts(path: Path) -> Iterator[Text]:
    """Of Python the string literals (with docstrings), the comments, the names of tests; of other files all lines."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield Text(1, content)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Text(node.lineno, node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
            yield Text(node.lineno, "".join(map(str, parts)))
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield Text(node.lineno, node.name.replace("_", " "))
    yield from _comments(content)


def _comments(content: str) -> Iterator[Text]:
    """Comments on lines that follow each other are one text, since a phrase may go over a line's end."""
    begin, end, lines = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            if lines and token.start[0] != end + 1:
                yield Text(begin, "\n".join(lines))
                lines = []
            begin = begin if lines else token.start[0]
            end = token.start[0]
            lines.append(token.string.lstrip("# "))
    if lines:
        yield Text(begin, "\n".join(lines))


def found(path: Path, name: str) -> list[str]:
    """The banned words of a file, each with its line and what to write instead."""
    result = []
    for text in texts(path):
        for pattern, instead in BANNED.items():
            if name in EXCEPTIONS.get(pattern, {}):
                continue
            for match in re.finditer(rf"\b{pattern.replace(' ', chr(92) + 's+')}\b", text.text, re.IGNORECASE):
                line = text.line + text.text.count("\n", 0, match.start())
                result.append(f"{name}:{line}: '{' '.join(match[0].split())}': {instead}")
    return list(dict.fromkeys(result))


def files() -> Iterator[Path]:
    for name in ("README.rst", "CONTRIBUTING.rst", "CHANGELOG.md", "SECURITY.md", "Makefile", "pyproject.toml"):
        yield REPOSITORY / name
    for folder, pattern in (
        ("docs", "*.rst"), ("docs", "*.py"), ("docs", "*.yml"), ("changelog.d", "*.md"), (".github", "*.yml"),
        ("patches", "*"), ("templates", "*"), ("tutor_transform_logs", "*.py"), ("bench", "*.py"), ("tests", "*.py"),
        (".ci", "*"), ("bench", "*.txt"),
    ):  # fmt: skip
        for path in sorted((REPOSITORY / folder).rglob(pattern)):
            if path.is_file() and path != THIS and not {"_build", "__pycache__"} & set(path.parts):
                yield path
    yield from SCRIPTS


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(REPOSITORY))) for path in files()])
def test_it_is_in_plain_english(path: Path) -> None:
    name = str(path.relative_to(REPOSITORY))
    hits = found(path, name)
    assert not hits


def test_exceptions_are_needed() -> None:
    for pattern, names in EXCEPTIONS.items():
        for name, reason in names.items():
            assert reason
            text = "\n".join(text.text for text in texts(REPOSITORY / name))
            assert re.search(rf"\b{pattern}\b", text, re.IGNORECASE), f"{name} no longer has '{pattern}'"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ('"""Mend it."""\n', ["1"]),
        ("x = 1\n# it is passed\n# over\n", ["2"]),
        ('raise E(f"a {b} is out "\n        "of reach")\n', ["1"]),
        ("standing = mend(recommended, outstanding)  # a mendicant\n", []),
        ("def test_a_line_is_passed_over() -> None: ...\n", ["1"]),
        ("# It is no event. There is no event, and it is no longer one.\n", ["1"]),
    ],
)
def test_banned_words_are_found_in_strings_and_comments(content: str, lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(content)
    assert [hit.split(":")[1] for hit in found(path, "module.py")] == lines

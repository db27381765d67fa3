"""The pages say what the code says: where a list can't be made from the code, it is compared with it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.harness import clickhouse_messages
from tests.harness.doc_commands import commands, missing
from tutor_transform_logs.commands import transform_logs, transform_tracking_logs
from tutor_transform_logs.lms_job.__main__ import CONFIG_FILE_PAGE, PHASES
from tutor_transform_logs.lms_job.__main__ import _parser as job_parser
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.model.dead_letters import DeadLetter
from tutor_transform_logs.lms_job.model.erb_faults import FAULTS
from tutor_transform_logs.lms_job.read import events
from tutor_transform_logs.lms_job.report.result import LINE_NAMES, STATEMENT_NAMES
from tutor_transform_logs.settings import SETTINGS

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "tutor_transform_logs"
DOCS = REPOSITORY / "docs"


# The directives that docutils has of its own, as far as pages use them.
DOCUTILS = {"code-block", "image", "list-table", "warning", "note"}


def page(name: str) -> str:
    return (DOCS / f"{name}.rst").read_text(encoding="utf-8")


def terms(text: str) -> list[str]:
    """The literals that definition lists define, of any indentation: ``a``, ``b``."""
    lines = re.findall(r"^( *)(``.+``.*)\n\1    \S", text, re.MULTILINE)
    return [term for _, line in lines for term in re.findall(r"``(.+?)``", line)]


def test_every_module_is_in_the_architecture_once() -> None:
    text = page("architecture")
    named = Counter(" ".join(re.findall(r"^\.\. modules:: (.+(?:\n   \S.*)*)", text, re.MULTILINE)).split())
    folders = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("__init__.py")}
    folders = {name for name in folders if name != "./" and not name.startswith("demo/lms")}
    modules = {path.stem for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    assert named == dict.fromkeys(folders | modules, 1), "docs/architecture.rst is not what is in tutor_transform_logs/"


def test_every_folder_of_the_job_has_a_heading() -> None:
    sections = re.findall(r"^(\w+)\n~+\n+((?:\.\. modules:: .+\n+)+)", page("architecture"), re.MULTILINE)
    folders = {path.parent.name for path in PACKAGE.glob("lms_job/*/__init__.py")}
    assert folders <= {name for name, _ in sections}
    assert all(lines.split() == ["..", "modules::", f"lms_job/{name}/"] for name, lines in sections if name in folders)


def test_every_reason_of_dead_letters_is_explained() -> None:
    codes = {value for name, value in vars(dead_letters).items() if name.isupper() and isinstance(value, str)}
    stages = {dead_letters.PARSE, dead_letters.TRANSFORM, dead_letters.DELIVER}
    text = page("reference/dead-letters")
    _, _, reasons = text.partition("\nReasons\n")
    assert Counter(terms(reasons)) == dict.fromkeys((codes - stages) | set(events.PARSE_REASONS), 1)


def test_every_known_fault_of_erb_is_in_the_table() -> None:
    _, _, table = " ".join(page("explanation/invalid-statements").split()).partition("list-table::")
    missing = [fault.what for faults in FAULTS.values() for fault in faults if fault.what not in table]
    assert not missing, "docs/explanation/invalid-statements.rst lacks faults"


def test_every_field_of_dead_letters_is_explained() -> None:
    text, _, _ = page("reference/dead-letters").partition("\nReasons\n")
    values: dict[str, Any] = {"int": 1, "bytes": b"\xff"}
    letter = DeadLetter(*(values.get(str(field.type), "x") for field in fields(DeadLetter)))
    bare = DeadLetter("o", 0, 1, "s", "r", "w", "e", b"{}")
    written = {key for entry in (letter, bare) for key in ast.literal_eval(dead_letters.dump([entry]).decode())}
    named = set(re.findall(r"``(\w+)``", text))
    assert written <= named, "docs/reference/dead-letters.rst lacks fields"


def test_every_field_of_the_result_is_explained() -> None:
    tree = ast.parse((PACKAGE / "lms_job/report/result.py").read_text(encoding="utf-8"))
    [function] = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "to_json"]
    keys = {key.value for node in ast.walk(function) if isinstance(node, ast.Dict) for key in node.keys
            if isinstance(key, ast.Constant)}  # fmt: skip
    named = set(re.findall(r"``(\w+)``", page("reference/result")))
    assert keys | set(LINE_NAMES) | set(STATEMENT_NAMES) <= named, "docs/reference/result.rst lacks fields"


def test_the_jobs_help_names_the_page_of_the_config_file() -> None:
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Source = "(.+)"$', pyproject, re.MULTILINE)
    assert found
    assert f"{found[1]}/blob/main/docs/reference/config-file.rst" == CONFIG_FILE_PAGE
    shown = job_parser().format_help()
    assert CONFIG_FILE_PAGE in shown
    assert all(re.search(rf"^  {phase} +\w", shown, re.MULTILINE) for phase in PHASES)
    assert "`" not in shown
    # argparse wraps the rest.
    phases = shown[: shown.index("options:")].splitlines()
    assert [line for line in phases if len(line) > 80] == []


@pytest.mark.parametrize("command", [transform_tracking_logs, transform_logs, *transform_logs.commands.values()])
def test_every_option_has_a_help_text_and_none_has_markup(command: click.Command) -> None:
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert all(option.help for option in options)
    assert "`" not in "".join([command.help or "", command.epilog or "", *(str(option.help) for option in options)])


def test_phases_and_flags_of_the_job_without_tutor_are_explained() -> None:
    text = page("reference/config-file")
    flags = set(BY_KEY) - {setting.key for setting in SETTINGS}
    assert {*PHASES, *flags} <= set(re.findall(r"``(\w+)``", text)), "docs/reference/config-file.rst lacks some"


ERRORS = ("JobError", "PermanentError", "NoContainer", "Unavailable", "TransientError", "LedgerError", "TutorError")


def templates() -> Iterator[tuple[str, str]]:
    """The messages that end a run, as the code makes them, with ``...`` for what is put in; and where that is."""
    for path in sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("lms_job/**/*.py")]):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS and call.args:
                text = "".join(_texts(call.args[0]))
                if call.func.id == "TransientError":
                    text += ". Run again to resume."  # when no try has succeeded: see util/backoff.py
                if text.strip(".: "):
                    yield text, f"{path.relative_to(PACKAGE)}:{call.lineno}"
    for text in clickhouse_messages.MESSAGES:
        yield text, f"clickhouse_answers.py: {text}"


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield str(part.value) if isinstance(part, ast.Constant) else "..."
    else:
        yield "..."


TEMPLATES = list(templates())


def entries() -> list[str]:
    """What ``docs/troubleshooting.rst`` explains."""
    return [term.replace("\\", "") for term in terms(page("troubleshooting"))]


def first_line(text: str) -> str:
    """The line that names the message; two insertions without text between them count as one."""
    return re.sub(r"(\.{3})+", "...", text.partition("\n")[0])


def explains(entry: str, text: str, texts: Set[str]) -> bool:
    """Can the two be one message's text, where ``...`` in either matches anything?

    An entry that is another of ``texts`` to the letter explains that one alone.
    """
    text = first_line(text)
    if entry == text or entry in texts:
        return entry == text
    literals = sorted(text.split("..."), key=len)
    return literals[-1].strip(" .") in entry and _overlap(entry.replace("...", "*"), text.replace("...", "*"))


def _overlap(pattern: str, other: str) -> bool:
    """Is there a text that both patterns match? ``*`` matches anything."""

    @cache
    def from_here(i: int, j: int) -> bool:
        if i == len(pattern) or j == len(other):
            return not (pattern[i:] + other[j:]).strip("*")
        if pattern[i] == "*" or other[j] == "*":
            return from_here(i + 1, j) or from_here(i, j + 1)
        return pattern[i] == other[j] and from_here(i + 1, j + 1)

    return from_here(0, 0)


@pytest.mark.parametrize(("text", "where"), [pytest.param(*template, id=template[1]) for template in TEMPLATES])
def test_every_message_that_ends_a_run_is_explained(text: str, where: str) -> None:
    texts = {first_line(text) for text, _ in TEMPLATES}
    assert any(explains(entry, text, texts) for entry in entries()), (
        f"docs/troubleshooting.rst has no entry for: {text}"
    )


@pytest.mark.parametrize("name", ["README.rst", "CONTRIBUTING.rst"])
def test_links_into_the_repository_lead_somewhere(name: str) -> None:
    """README's are absolute, because PyPI shows that page, too."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    found = re.search(r'^Source = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    links = re.findall(rf"{re.escape(found[1])}/blob/main/([^>\s]+)", text) + re.findall(r"``(docs/\S+\.rst)``", text)
    assert links
    assert not [path for path in links if not (REPOSITORY / path).is_file()]
    assert not re.search(r"<(?!https?:)[^>\s]+>`_|^\.\. _.+: (?!https?:)", text, re.MULTILINE)


def test_pages_that_readme_links_to_can_be_read_on_github() -> None:
    """GitHub shows nothing of a directive that only Sphinx knows."""
    names = re.findall(r"/blob/main/(docs/[^>\s]+\.rst)", (REPOSITORY / "README.rst").read_text(encoding="utf-8"))
    texts = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in names}
    used = {(name, found) for name, text in texts.items() for found in re.findall(r"^ *\.\. ([\w-]+)::", text, re.M)}
    assert [(name, found) for name, found in used if found not in DOCUTILS] == []
    assert "\n``TRANSFORM_LOGS_SOURCE_PROVIDER``\n" in texts["docs/reference/settings.rst"]


# What the code puts together from pieces.
COMPOSED = ("A worker was killed by", "Can't reach")


def test_no_message_is_explained_that_nothing_says() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))]
    texts = [n for tree in trees for n in ast.walk(tree) if isinstance(n, (ast.Constant, ast.JoinedStr))]
    said = " ".join("\n".join("".join(_texts(node)) for node in texts).split())
    pieces = [piece.strip(" .,():;") for entry in entries() for piece in re.split(r"\.\.\.|[.:;)] ", entry)]
    gone = [piece for piece in pieces if len(piece) > 4 and piece not in said and piece not in COMPOSED]
    assert not gone, "docs/troubleshooting.rst explains what no code says"


@pytest.mark.parametrize(
    ("shown", "gone"),
    [
        (("...", "a  1", "b ... c", "..."), []),
        (("a 2", "b"), ["a 2"]),
        (("b", "a 1"), ["a 1"]),
    ],
)
def test_what_a_command_is_said_to_print_is_compared(shown: tuple[str, ...], gone: list[str]) -> None:
    assert missing(shown, "x\n  a    1\n\nb anything c\n") == gone


def test_commands_of_a_page_are_found() -> None:
    found = list(commands(REPOSITORY / "docs" / "walkthrough.rst"))
    assert found[0].text == "python3 -m venv ~/tutor"
    assert found[0].output == ()
    launched = next(command for command in found if command.text.startswith("ls "))
    assert launched.output == ("tracking.log", "tracking.log-20260101.gz", "tracking.log.1")


def test_entries_of_the_changelog_can_be_collected(tmp_path: Path) -> None:
    for name in ("CHANGELOG.md", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "changelog.d", tmp_path / "changelog.d")
    (tmp_path / "tutor_transform_logs").mkdir()
    shutil.copy(PACKAGE / "__about__.py", tmp_path / "tutor_transform_logs")
    (tmp_path / "changelog.d" / "20260101_000000_x.md").write_text("### Fixed\n\n- Something.\n")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    scriv = Path(sys.executable).with_name("scriv")
    done = subprocess.run([scriv, "collect", "--keep"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "CHANGELOG.md").read_text()
    assert re.search(r"^## \d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)$", text, re.MULTILINE)
    assert "- Something." in text


def test_read_the_docs_builds_what_make_docs_builds() -> None:
    """The build itself is that of ``make docs``; the extra has what it needs beside the plugin."""
    config = yaml.safe_load((REPOSITORY / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert (REPOSITORY / config["sphinx"]["configuration"]).is_file()
    [install] = config["python"]["install"]
    [extra] = install["extra_requirements"]
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^{extra} = \[(.+)\]$", pyproject, re.MULTILINE)
    assert found is not None
    assert re.findall(r'"(\w+)', found[1]) == ["furo", "sphinx"]

"""The pictures in the documentation show what the code does, and nothing of the machine that they were made on."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "docs" / "images"
MOST_BYTES = 200_000
TAKE = (
    "import sys; sys.path.insert(0, 'docs'); import pathlib, screenshots; screenshots.take(pathlib.Path(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures as they would be made now."""
    folder = tmp_path_factory.mktemp("images")
    subprocess.run([sys.executable, "-c", TAKE, folder], cwd=REPOSITORY, check=True)
    return folder


def shown(path: Path) -> str:
    """The text of the terminal, without the sizes of files: each zlib compresses in its own way."""
    text = re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")).replace("&#160;", " ")
    return re.sub(r"[\d.]+ kB", "SIZE", text)


def test_the_terminal_shows_what_a_run_prints(taken: Path) -> None:
    assert shown(IMAGES / "terminal.svg") == shown(taken / "terminal.svg"), "Run python docs/screenshots.py"
    assert "Done. Every line and every statement is accounted for." in shown(IMAGES / "terminal.svg")


@pytest.mark.parametrize("name", ["terminal.svg", "report.png"])
def test_a_picture_is_small_and_of_no_machine(taken: Path, name: str) -> None:
    for path in (IMAGES / name, taken / name):
        content = path.read_bytes()
        assert 1000 < len(content) < MOST_BYTES
        assert not re.search(rb"/(tmp|root|home|work)/|localhost", content)


def test_the_report_is_a_page_of_the_same_size(taken: Path) -> None:
    sizes = {struct.unpack(">II", (path / "report.png").read_bytes()[16:24]) for path in (IMAGES, taken)}
    assert sizes == {(1000, 1500)}

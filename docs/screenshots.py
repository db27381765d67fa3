"""The pictures in the documentation: the end of a run on a terminal, and its report in a browser.

``python docs/screenshots.py`` replays the demo's sample logs and writes both to docs/images. It needs what the tests
need (Chromium). What differs between machines and runs is replaced: folders, the job's key, times.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES = REPOSITORY / "docs" / "images"
# As on a site: what the demo has in its own folder is in the LMS's data directory.
FOLDERS = {
    "/ledger": "/openedx/data/transform-logs",
    "/statements": "/openedx/data/statements",
    "/logs": "/openedx/data/logs",
}
KEY = "3f2a9c41d0be"
COMMAND = (
    "$ tutor local do transform-tracking-logs \\",
    "    --destination-provider LOCAL --destination-container statements",
)
WIDTH, HEIGHT = 1000, 1500
CHARACTER, LINE, MARGIN = 8.4, 19, 16


def replay(folder: Path) -> tuple[str, str]:
    """Replay the samples in ``folder``: what the job prints, and its page."""
    command = [sys.executable, "-m", "tutor_transform_logs.demo", "--output", str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    printed = done.stdout[done.stdout.index("object ") : done.stdout.index("\n\nThe first statement")]
    page = (folder / "report.html").read_text(encoding="utf-8")
    return _of_a_site(printed, folder), _of_a_site(page, folder)


def _of_a_site(text: str, folder: Path) -> str:
    for name, place in FOLDERS.items():
        text = text.replace(f"{folder}{name}", place)
    text = re.sub(r"\b[0-9a-f]{12}\b", KEY, text)
    text = re.sub(
        r"\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_xapi_[0-9a-f]{12}-[0-9a-f]{8}", f"26-01-31_02-30-00_xapi_{KEY}-5d3c0b7e", text
    )
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-01-31 02:30:00 UTC", text)
    return text.replace("http://localhost:18000", "https://lms.example.com")


def terminal(lines: Sequence[str]) -> str:
    """A terminal with these lines, as SVG."""
    width = max(map(len, lines)) * CHARACTER + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    texts = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + number * LINE + 14}">{html.escape(line).replace(" ", "&#160;")}</text>'
        for number, line in enumerate(lines)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" role="img" aria-label="The end of a run on a terminal">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#12161b"/>\n'
        '<g font-family="ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" fill="#e6edf3" '
        f">\n{texts}\n</g>\n</svg>\n"
    )


def take(images: Path) -> None:
    """Write both pictures to this folder."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.harness.browser import start

    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        printed, page = replay(Path(folder, "demo"))
        lines = [*COMMAND, *printed.splitlines()]
        (images / "terminal.svg").write_text(terminal(lines), encoding="utf-8")
        shown = Path(folder, "report.html")
        shown.write_text(page, encoding="utf-8")
        with start(Path(folder)) as browser:
            browser.open(shown, width=WIDTH).screenshot(images / "report.png", HEIGHT)


if __name__ == "__main__":
    take(IMAGES)

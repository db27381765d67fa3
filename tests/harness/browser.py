"""A real browser without a window, that looks at pages on this machine's disk and reaches no network."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.process import ServiceError, stop
from tests.harness.registry import register

_ANSWER_SECS = 60
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    # Nobody listens there: whatever is not on the disk is unavailable.
    "--proxy-server=127.0.0.1:9",
)


class Browser:
    """Chromium, spoken to over its debugging pipe (Chrome DevTools Protocol)."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._numbers = itertools.count(1)
        self._left = b""
        self._events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._events.append(answer)
        if "error" in answer:
            raise ServiceError(f"Chromium does not take {method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, event: str, session: str) -> None:
        """Wait until this event of a page has come."""
        while not self.events(event, session):
            self._events.append(self._next())

    def events(self, event: str, session: str) -> list[dict[str, Any]]:
        """What has come so far."""
        return [
            event_["params"]
            for event_ in self._events
            if event_.get("method") == event and event_.get("sessionId") == session
        ]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _ANSWER_SECS
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._reads], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._reads, 1024 * 1024) if ready else b""
            if not piece:
                raise ServiceError("Chromium does not answer")
            self._left += piece
        text, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def open(self, path: Path, *, width: int, dark: bool = False) -> Page:
        """Open a file in a window of this width, as a phone would if it is narrow."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log"):
            self.call(f"{domain}.enable", session)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", session, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", session, features=[scheme])
        self.call("Page.navigate", session, url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired", session)
        return Page(self, session)


@dataclass(frozen=True)
class Page:
    """An open page."""

    browser: Browser
    session: str = field(repr=False)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.browser.call("Runtime.evaluate", self.session, expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ServiceError(f"Chromium can't evaluate it: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """Every URL that was asked for, the page's own first."""
        return [event["request"]["url"] for event in self.browser.events("Network.requestWillBeSent", self.session)]

    def complaints(self) -> list[str]:
        """What the browser has to say of the page: errors, what its policy forbids."""
        return [event["entry"]["text"] for event in self.browser.events("Log.entryAdded", self.session)]

    def emulate_print(self) -> None:
        """Show the page as it is printed."""
        self.browser.call("Emulation.setEmulatedMedia", self.session, media="print")

    def print(self, path: Path) -> Path:
        """The page as a PDF, as people print it: without backgrounds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        printed = self.browser.call("Page.printToPDF", self.session, printBackground=False)
        path.write_bytes(base64.b64decode(printed["data"]))
        return path

    def screenshot(self, path: Path, height: int = 0) -> Path:
        """The page as a picture: all of it, or down to this height."""
        path.parent.mkdir(parents=True, exist_ok=True)
        width = self.evaluate("document.documentElement.clientWidth")
        part = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}} if height else {}
        taken = self.browser.call("Page.captureScreenshot", self.session, captureBeyondViewport=True, **part)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path


@contextlib.contextmanager
def start(folder: Path) -> Iterator[Browser]:
    """Run Chromium until the block ends."""
    program = shutil.which("chromium")
    if program is None:
        raise ServiceError("There is no chromium: run tests/harness/install-debian-packages as root")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
    register(f"Chromium {version[1]}")
    its_input, our_output = os.pipe()
    our_input, its_output = os.pipe()
    # It reads descriptor 3 and writes descriptor 4, whatever those are in this process.
    high = [fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (its_input, its_output)]
    place = f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}'
    with (folder / "chromium.log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", place, program, *_FLAGS, f"--user-data-dir={folder / 'profile'}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=high,
            start_new_session=True,
        )
    for end in (its_input, its_output, *high):
        os.close(end)
    try:
        yield Browser(our_input, our_output)
    finally:
        stop(process)
        os.close(our_input)
        os.close(our_output)

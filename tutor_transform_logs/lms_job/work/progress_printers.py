"""The two ways to show progress: lines that are redrawn on a terminal, and a plain line from time to time elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..util import console

if TYPE_CHECKING:
    from .progress import ProgressState

# The longer a run takes, the less often it prints a line.
FIRST_INTERVAL, LONGEST_INTERVAL = 5.0, 60.0
INTERVAL_SHARE = 0.02
DRAW_SECS = 0.2
MAX_WORKER_LINES = 8
# On a narrow terminal, the bar goes and the time left stays.
WIDE_COLUMNS = 56
BARS = {True: ("{percentage:3.0f}% |{bar:8}| ", len("100% |########| ")), False: ("{percentage:3.0f}% ", len("100% "))}


class Printer(Protocol):
    """Shows a :class:`~.progress.ProgressState`; ``now`` is a monotonic clock in seconds."""

    def update(self, now: float, at_once: bool) -> None:
        """The state has changed; ``at_once``: in a way that the user should see without delay."""

    def print(self, write: Callable[[], None]) -> None:
        """Have ``write`` print a line of its own."""

    def close(self, now: float) -> None:
        """Show the last state."""


class TerminalPrinter:
    """A bar, and a line for each worker below it."""

    def __init__(self, state: ProgressState, workers: int, now: float) -> None:
        self._state = state
        self._lines = _bars(state.total_bytes, min(workers, MAX_WORKER_LINES))
        self._draw(now)

    def update(self, now: float, at_once: bool) -> None:
        if at_once or now - self._drawn >= DRAW_SECS:
            self._draw(now)

    def print(self, write: Callable[[], None]) -> None:
        for line in self._lines:
            line.clear()
        write()
        for line in self._lines:
            line.refresh()

    def close(self, now: float) -> None:
        self._draw(now)
        for line in reversed(self._lines):
            line.close()

    def _draw(self, now: float) -> None:
        state = self._state
        self._drawn = now
        bar, *lines = self._lines
        bar.n, bar.total = min(state.done_bytes, state.total_bytes), max(state.total_bytes, 1)
        columns = bar.format_dict["ncols"] or console.MAX_COLUMNS
        drawn, width = BARS[columns >= WIDE_COLUMNS]
        bar.bar_format = drawn + "{desc}"
        bar.set_description_str(state.summary(now, columns - width))
        for number, line in enumerate(lines):
            label = "     " if len(lines) == 1 else f"{number + 1:>4} "
            line.set_description_str(label + state.workers.get(number, "done"))


class LinePrinter:
    """A line after each interval; as JSON where the log format says so."""

    def __init__(self, state: ProgressState) -> None:
        self._state = state
        self._printed = state.started

    def update(self, now: float, at_once: bool) -> None:
        if now - self._printed >= interval(self._printed - self._state.started):
            self._printed = now
            console.say(self._state.line(now), "progress", fields=self._state.fields(now))

    def print(self, write: Callable[[], None]) -> None:
        write()

    def close(self, now: float) -> None:
        """The result says it all."""


def interval(elapsed: float) -> float:
    """Seconds between two lines of a run that has taken ``elapsed`` seconds."""
    return min(max(FIRST_INTERVAL, elapsed * INTERVAL_SHARE), LONGEST_INTERVAL)


def _bars(total_bytes: int, workers: int) -> list[Any]:
    from tqdm import tqdm

    # Its thread would redraw when nothing has changed, and must not run when workers are forked.
    tqdm.monitor_interval = 0
    common: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 0}
    bar = tqdm(total=max(total_bytes, 1), bar_format="{desc}", position=0, **common)
    lines = (tqdm(total=0, bar_format="{desc}", leave=False, position=n, **common) for n in range(1, workers + 1))
    return [bar, *lines]

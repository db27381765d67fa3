"""Makes Python's cycle collector run rarely."""

from __future__ import annotations

import gc

# Objects made and not freed before the collector runs. Its own defaults are 700, 10 and 10, which takes a sixth of all
# time.
COLLECT_AFTER = (100_000, 50, 100)


def collect_rarely() -> None:
    """What is made of lines is freed without the cycle collector, which would search all of it for nothing.

    What is loaded by now stays for good: it is kept apart, and its memory is shared with processes that are forked.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)

"""Builds HTML. All text is escaped, unless it was built here."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..util.formatting import printable


class Html(str):
    """Text that is already HTML, and so is not escaped again."""


def tag(name: str, /, *content: str, **attributes: str | int | float) -> Html:
    """An element. ``class_`` is the attribute ``class``; in the names of other attributes, ``_`` stands for ``-``."""
    made = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(printable(str(value)))}"'
        for key, value in attributes.items()
    )
    if name == "meta":
        return Html(f"<{name}{made}>")
    return Html(f"<{name}{made}>{joined(content)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """The parts as HTML, one after the other."""
    return Html("".join(part if isinstance(part, Html) else html.escape(printable(part)) for part in parts))

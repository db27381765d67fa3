"""HTML as text that is escaped unless it was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..util.formatting import printable


class Html(str):
    """Text that is HTML already."""


def tag(name: str, /, *content: str, **attributes: str | int | float) -> Html:
    """An element. ``class_`` is the attribute ``class``, and ``_`` stands for ``-`` in the names of others."""
    made = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(printable(str(value)))}"'
        for key, value in attributes.items()
    )
    if name == "meta":
        return Html(f"<{name}{made}>")
    return Html(f"<{name}{made}>{joined(content)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """The parts, one after the other, as HTML."""
    return Html("".join(part if isinstance(part, Html) else html.escape(printable(part)) for part in parts))

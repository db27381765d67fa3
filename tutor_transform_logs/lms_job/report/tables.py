"""The sections and tables that the report's page is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .html import Html, joined, tag

# A part of a name without a dot or the like that is longer is broken anywhere, so that the page fits on a phone.
_LONGEST_PART = 26


def section(title: str, *content: str) -> Html:
    return tag("section", tag("h2", title), *content)


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> Html:
    """A table. The first ``texts`` columns hold text, the others numbers."""
    kinds = ["text" if n < texts else "number" for n in range(len(columns))]
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in zip(columns, kinds, strict=True)))
    body = []
    for first, *rest in rows:
        cells = [tag("td", cell, class_=kind) for cell, kind in zip(rest, kinds[1:], strict=True)]
        body.append(tag("tr", tag("th", first, scope="row"), *cells))
    return tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))


def wide(table: Html) -> Html:
    """A table that scrolls sideways on a narrow screen."""
    return tag("div", table, class_="wide", tabindex=0)


def bar_cell(name: str, parts: Iterable[tuple[str, float]]) -> Html:
    """A name and a bar beside it, or below it on a narrow screen. ``parts``: class of the part, share of the width."""
    bar = tag("span", *(_part(part, share) for part, share in parts if share), class_="bar")
    return tag("div", unbroken(name), bar, class_="named")


def _part(part: str, share: float) -> Html:
    return tag("span", class_=part, style=f"width:{share * 100:.2f}%")


def unbroken(name: str) -> Html:
    """A name that is broken behind dots and the like alone."""
    parts = re.split(r"(?<=[._/+:@-])", name)
    whole = max(map(len, parts)) <= _LONGEST_PART
    return tag(
        "span", joined(part for text in parts for part in (text, Html("<wbr>"))), class_="whole" if whole else "long"
    )


def percentage(part: float, whole: float) -> str:
    """A share for people: 46 %, 0.4 %."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 9.95 or not share else f"{share:.1f} %" if share >= 0.05 else "< 0.1 %"

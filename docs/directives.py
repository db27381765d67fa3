"""Sphinx directives for what the documentation takes from the code: see ``reference``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import reference
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

LISTS: dict[str, Callable[[str], Iterator[str]]] = {
    "settings": lambda _: reference.setting_entries(),
    "replay-options": lambda _: reference.option_entries(),
    "exit-statuses": lambda _: reference.status_entries(),
    "host-commands": lambda _: reference.command_entries(),
    "modules": reference.module_entries,
}


class FromCode(SphinxDirective):
    """``.. NAME:: ARGUMENT``: the lines that the function of this name in :data:`LISTS` gives, read as reST."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        lines = LISTS[self.name](self.arguments[0] if self.arguments else "")
        parent = nodes.container()
        self.state.nested_parse(StringList(list(lines), source=f"docs/reference.py ({self.name})"), 0, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    for name in LISTS:
        app.add_directive(name, FromCode)
    return {"parallel_read_safe": True}

"""Sphinx directives for what the documentation takes from the code: see ``reference``.

GitHub does not know Sphinx's directives. So the pages have plain lists between marks, which stand for a directive here.
"""

from __future__ import annotations

import re
import textwrap
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


def with_directives(text: str) -> str:
    """A page with a directive for each list between marks."""

    def directive(match: re.Match[str]) -> str:
        if match["name"] == "glossary":
            return f".. glossary::\n    :sorted:\n{textwrap.indent(match['list'], '    ')}"
        return f".. {match['name']}::\n"

    names = "|".join(["glossary", *LISTS])
    marked = rf"^\.\. (?P<name>{names}) begin: .*?\n(?P<list>.*?)^\.\. (?P=name) end\n"
    return re.sub(marked, directive, text, flags=re.MULTILINE | re.DOTALL)


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    content[0] = with_directives(content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    for name in LISTS:
        app.add_directive(name, FromCode)
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}

"""Sphinx's configuration. A build downloads nothing: no inventories of other projects, no fonts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tutor_transform_logs.__about__ import __version__

project = "tutor-contrib-transform-logs"
copyright = "the contributors, AGPL-3.0"
version = release = __version__

# Makes the reference's lists from the code.
extensions = ["directives"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "literal"
highlight_language = "console"
smartquotes = False

html_theme = "furo"
html_title = "Replay tracking logs"
html_copy_source = False
html_show_sphinx = False

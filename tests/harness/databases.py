"""The embedded LMS of this process on another database for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pymysql
from django.db import DEFAULT_DB_ALIAS, connections


@contextmanager
def default_database(databases: Mapping[str, Any]) -> Iterator[None]:
    """Within this context, Django's default database is that of ``databases``; ``{}`` leaves it as it is."""
    if not databases:
        yield
        return
    pymysql.install_as_MySQLdb()
    before = connections[DEFAULT_DB_ALIAS], connections.settings[DEFAULT_DB_ALIAS]
    configured = connections.configure_settings(dict(databases))[DEFAULT_DB_ALIAS]
    try:
        connections.settings[DEFAULT_DB_ALIAS] = configured
        connections[DEFAULT_DB_ALIAS] = connections.create_connection(DEFAULT_DB_ALIAS)
        yield
    finally:
        connections[DEFAULT_DB_ALIAS].close()
        connections[DEFAULT_DB_ALIAS], connections.settings[DEFAULT_DB_ALIAS] = before

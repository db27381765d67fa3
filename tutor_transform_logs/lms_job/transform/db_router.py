"""Which of the LMS's databases the job reads from."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import router

from ..config.validators import ConfigError


class ReadFrom:
    """A Django database router that sends every read to one alias, and leaves every write to the other routers.

    ``get_or_create``, by which ERB makes missing external ids, reads from the database that it writes to.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self._alias

    def allow_relation(self, obj1: Any, obj2: Any, **hints: Any) -> bool:
        """A replica holds the same rows as its database."""
        return True


def read_from(alias: str) -> None:
    """Have all reads go to the database ``alias``, a replica; ``""`` leaves everything as the LMS has it.

    Raises :class:`~.validators.ConfigError` if the LMS has no such alias.
    """
    if not alias:
        return
    if alias not in settings.DATABASES:
        known = ", ".join(sorted(settings.DATABASES))
        raise ConfigError("database_alias", f"the LMS settings have no database {alias}", f"one of DATABASES: {known}")
    router.routers.insert(0, ReadFrom(alias))

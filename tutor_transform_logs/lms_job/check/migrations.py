"""Is the LMS in this image the one that the site's database belongs to?

The job may run in an image of its own. After an upgrade of the site, that image may still have the LMS of before. The
database knows: it lists the migrations that were applied to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable

from ..util.formatting import count

ERB_APP = "event_routing_backends"
"""Its missing tables are a finding of their own."""


def notice_of_other_lms(alias: str) -> str:
    """What is to be said if the code in this image and the database ``alias`` are of different releases; or ``""``."""
    from django.db import connections
    from django.db.migrations.exceptions import BadMigrationError, InconsistentMigrationHistory, NodeNotFoundError
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.recorder import MigrationRecorder

    with contextlib.suppress(BadMigrationError, InconsistentMigrationHistory, NodeNotFoundError):
        loader = MigrationLoader(connections[alias])
        if not loader.applied_migrations:
            return ""  # the tables were made in another way
        rows = MigrationRecorder(connections[alias]).migration_qs.order_by("id").values_list("app", "name")
        # A migration that was squashed has left its name in the database.
        replaced = {each for migration in loader.disk_migrations.values() for each in migration.replaces}
        leaves = [leaf for leaf in loader.graph.leaf_nodes() if leaf[0] != ERB_APP]
        return _notice(
            unknown_migrations(rows, {*loader.disk_migrations, *replaced}, loader.migrated_apps),
            sorted(leaf for leaf in leaves if leaf not in loader.applied_migrations),
        )
    return ""


def unknown_migrations(
    applied: Iterable[tuple[str, str]], known: Container[tuple[str, str]], apps: Iterable[str]
) -> list[tuple[str, str]]:
    """The newest migration of each of ``apps`` in the database, where the code does not know it.

    ``applied``: app and name, oldest first. Older ones may have been removed from the code, once all sites had them.
    """
    newest = dict(applied)
    return [(app, newest[app]) for app in sorted(apps) if app in newest and (app, newest[app]) not in known]


def _notice(unknown: list[tuple[str, str]], missing: list[tuple[str, str]]) -> str:
    if unknown:
        return (
            f"The LMS in this image is older than the database, which has migrations that it does not know ("
            f"{_named(unknown)}). Use the image of the LMS that runs: build the job's image again, or unset "
            "TRANSFORM_LOGS_DOCKER_IMAGE."
        )
    if missing:
        return (
            f"The LMS in this image is newer than the database, which lacks migrations ({_named(missing)}). Run: "
            "tutor local do init. Or use the image of the LMS that runs."
        )
    return ""


def _named(migrations: list[tuple[str, str]]) -> str:
    app, name = migrations[0]
    more = len(migrations) - 1
    return f"{app} {name}" + (f" and {count(more, 'other')}" if more else "")

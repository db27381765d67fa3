"""Stands where edx-platform's model of external user ids is: same tables, same answers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import signals

logger = logging.getLogger(__name__)


class _Stamped(models.Model):  # type: ignore[misc, unused-ignore]
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


def _unbound_key(to: Any) -> Any:
    """The id of a row that may be gone."""
    return models.ForeignKey(to, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")


class ExternalIdType(_Stamped):
    """A purpose for which people get an id that is known outside."""

    CALIPER = "caliper"
    XAPI = "xapi"
    LTI = "lti"

    name = models.CharField(max_length=32, unique=True, db_index=True)
    description = models.TextField()

    class Meta:
        app_label = "external_user_ids"


class ExternalId(_Stamped):
    """The id under which a user is known for one purpose."""

    external_user_id = models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
    external_id_type = models.ForeignKey(ExternalIdType, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    class Meta:
        app_label = "external_user_ids"
        unique_together = (("user", "external_id_type"),)

    @classmethod
    def user_has_external_id(cls, user: Any, type_name: str) -> bool:
        """Whether the user has an id of this type."""
        return bool(cls.objects.filter(user=user, external_id_type__name=type_name).exists())

    @classmethod
    def add_new_user_id(cls, user: Any, type_name: str) -> tuple[ExternalId | None, bool]:
        """The user's id of this type, made if need be, and whether it was made.

        ``(None, False)`` if the LMS has no such type.
        """
        kind = ExternalIdType.objects.filter(name=type_name).first()
        if kind is None:
            logger.info("no external id for user %s: there is no type %s", user.id, type_name)
            return None, False
        external_id, created = cls.objects.get_or_create(user=user, external_id_type=kind)
        if created:
            logger.info("user %s has a new external id of type %s", user.id, type_name)
        return external_id, created

    @classmethod
    def batch_get_or_create_user_ids(cls, users: Iterable[Any], type_name: str) -> dict[int, ExternalId] | None:
        """The ids of this type of many users by user id, made where missing; None if there is no such type."""
        kind = ExternalIdType.objects.filter(name=type_name).first()
        if kind is None:
            logger.info("no external ids: there is no type %s", type_name)
            return None
        wanted = {user.id for user in users}
        found = {row.user_id: row for row in cls.objects.filter(user_id__in=wanted, external_id_type=kind)}
        made = cls.objects.bulk_create(
            [cls(user_id=user_id, external_id_type=kind) for user_id in sorted(wanted - found.keys())]
        )
        return found | {row.user_id: row for row in made}


class HistoricalExternalId(models.Model):  # type: ignore[misc, unused-ignore]
    """What a row was when it was made, changed or deleted. It stays when the row goes, and the user."""

    id = models.IntegerField(db_index=True)
    created = models.DateTimeField()
    modified = models.DateTimeField()
    external_user_id = models.UUIDField(editable=False, db_index=True)
    history_id = models.AutoField(primary_key=True)
    history_date = models.DateTimeField(auto_now_add=True, db_index=True)
    history_change_reason = models.CharField(max_length=100, null=True)  # as in edx-platform
    history_type = models.CharField(max_length=1)
    external_id_type = _unbound_key(ExternalIdType)
    history_user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    user = _unbound_key(settings.AUTH_USER_MODEL)

    class Meta:
        app_label = "external_user_ids"


def _record(sender: type[ExternalId], instance: ExternalId, **event: Any) -> None:
    names = ("id", "created", "modified", "external_user_id", "external_id_type_id", "user_id")
    kind = "-" if "created" not in event else "+" if event["created"] else "~"
    HistoricalExternalId.objects.create(history_type=kind, **{name: getattr(instance, name) for name in names})


signals.post_save.connect(_record, sender=ExternalId)
signals.post_delete.connect(_record, sender=ExternalId)
ExternalId.history = HistoricalExternalId.objects  # type: ignore[attr-defined, unused-ignore]

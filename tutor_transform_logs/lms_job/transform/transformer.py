"""Events into statements, by ERB's own router: its allow lists, its transformers, its envelope.

Here is how ERB's router and eventtracking's engine are set up and called, and what their exceptions mean. Two other
places know ERB's internals: ``fast_path/`` replaces parts of it, and ``deliver/routers`` reads its router
configurations.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

from ..fast_path import foreign_code, patches
from ..fast_path.deleted_users import DeletedUsers
from ..fast_path.filters import filters_are_configured
from ..fast_path.lookups import Lookups
from ..fast_path.sources import notice_of_unknown_code
from ..fast_path.xapi import NotJson, XapiFastPath, xapi_fast_path
from ..model import dead_letters
from ..model.records import Event, Statement, statement_id
from ..read.events import parse, person_of
from ..read.prefilter import Prefilter
from ..util.backoff import retrying
from ..util.errors import JobError, TransientError

TOGGLES = {"xapi": "XAPI_EVENTS_ENABLED", "caliper": "CALIPER_EVENTS_ENABLED"}
LOGGING_TOGGLES = {"xapi": "XAPI_EVENT_LOGGING_ENABLED", "caliper": "CALIPER_EVENT_LOGGING_ENABLED"}
ENGINE = "event_transformer"
ERB_PACKAGE = "event_routing_backends"
OWN_SETTING = "TRANSFORM_LOGS_TRACKING_BACKENDS"

# ERB raises a plain ValueError for all of these (helpers.get_anonymous_user_id, helpers.get_course_from_id,
# BaseTransformerMixin.get_data and .transform): only the text tells them apart.
ERB_REASONS = (
    (re.compile(r"User with username .* does not exist", re.S), dead_letters.UNKNOWN_USER),
    (re.compile(r"Course with id .* does not exist", re.S), dead_letters.UNKNOWN_COURSE),
    (re.compile(r"Could not get value for|Cannot find value for"), dead_letters.MISSING_FIELD),
)

# MySQL's codes of "Illegal mix of collations", which Django has for an OperationalError. It is about one name alone: an
# emoji, where a table has the old character set utf8mb3.
MIX_OF_COLLATIONS = (1267, 1270, 1271)


class Untransformable(Exception):
    """ERB makes no statement of this event. ``reason`` is a code of ``dead_letters``, ``detail`` is ERB's text."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class TurnedOff:
    """The value of a toggle that the job has turned off; false, as ERB takes it."""

    before: bool
    """The LMS's own value."""

    def __bool__(self) -> bool:
        return False


class Transformer:
    """ERB's router for one transformer type, taking one event at a time."""

    def __init__(
        self,
        transformer_type: str,
        stable_ids: bool,
        max_wait_secs: float,
        fast_path: bool = True,
        include_deleted_users: bool = False,
    ) -> None:
        """``stable_ids``: give Caliper events ids that follow from the log line. ``notices``: what had to be set up.

        ``fast_path``: make the same statements in less time; this replaces parts of ERB in the whole process.
        ``include_deleted_users``: look for the external ids of users whom ERB does not find any more.

        Raises :class:`~.errors.JobError` where ERB's router can't be made.
        """
        self.type = transformer_type
        self.notices: list[str] = []
        self._stable_ids = stable_ids and transformer_type == "caliper"
        self._max_wait_secs = max_wait_secs
        self.logging_enabled = self._logging_enabled()
        self._turn_on_toggles()
        self.router = self._find_router()
        self._whitelists = [p.whitelist for p in self.router.processors if hasattr(p, "whitelist")]
        self._registries = [p.registry for p in self.router.processors if getattr(p, "registry", None) is not None]
        self._registered = frozenset().union(*(registry.mapping for registry in self._registries))
        self.known_names = self._find_known_names()
        # Every event that ERB can't transform is counted and becomes a dead letter with ERB's text; ERB's own
        # log of it (a traceback each) would bury everything else.
        logging.getLogger(ERB_PACKAGE).setLevel(logging.CRITICAL)
        self._lookups: Lookups | None = None
        self._xapi_fast_path: XapiFastPath | None = None
        self.prefilter: Prefilter | None = None
        """Tells lines that need no parsing, since this type transforms none of their events."""
        patches.remove()
        transformers = [cls for registry in self._registries for cls in registry.mapping.values()]
        self._runs_filters = filters_are_configured(transformers)
        prefilter = Prefilter(self.known_names)
        self.name_by_its_ends = prefilter.name_by_its_ends
        """Of a line whose JSON is broken: the event's name if it is one that the type does not transform, all the same.
        """
        if fast_path:
            self.prefilter = prefilter if prefilter.usable else None
            self._install_fast_path()
        self._deleted_users = self._include_deleted_users() if include_deleted_users else None

    def _include_deleted_users(self) -> DeletedUsers | None:
        found = patches.include_deleted_users(self.type)
        if found is None:
            self.notices.append(
                "include_deleted_users has no effect: the installed event-routing-backends, or another plugin, looks "
                "users up in a way that is not known. Events of deleted users become dead letters (unknown_user)."
            )
        return found

    def _install_fast_path(self) -> None:
        reason = foreign_code.reason_against_fast_path(self.type, self.router)
        if reason:
            self.notices.append(f"The fast path is off for {self.type}: {reason}.")
            return
        if notice := notice_of_unknown_code(self.type):
            self.notices.append(notice)
        self._lookups = patches.install(self.type, self._runs_filters)
        self._xapi_fast_path = xapi_fast_path(self.router, self._runs_filters)

    def _logging_enabled(self) -> bool:
        """The LMS's own value of the toggle, which an earlier transformer of this process has turned off."""
        value = getattr(settings, LOGGING_TOGGLES[self.type], True)
        return value.before if isinstance(value, TurnedOff) else bool(value)

    def _turn_on_toggles(self) -> None:
        toggle = TOGGLES[self.type]
        if not getattr(settings, toggle, False):
            setattr(settings, toggle, True)
            self.notices.append(f"{toggle} is off in the LMS settings: turned on for this job.")
        # The job writes statements to the loggers itself, once their ids are final.
        setattr(settings, LOGGING_TOGGLES[self.type], TurnedOff(self.logging_enabled))

    def _find_router(self) -> Any:
        """The router of the LMS's own ``event_transformer`` backend, else that of ERB's recommended settings."""
        router = self._router_of(getattr(settings, "EVENT_TRACKING_BACKENDS", None) or {})
        if router is None:
            self.notices.append(
                f"EVENT_TRACKING_BACKENDS has no {ENGINE} backend with a router for {self.type}: "
                "using the one that event-routing-backends recommends."
            )
            router = self._router_of(_recommended_backends())
        if router is None:
            raise JobError(
                f"event-routing-backends offers no router for {self.type}: use a version of it from 9.3 to 10."
            )
        return router

    def _router_of(self, backends: Mapping[str, Any]) -> Any:
        """Make the engine that ``backends`` describe, but none of its neighbours, and take its router."""
        if ENGINE not in backends:
            return None
        # DjangoTracker builds what a Django setting of any name describes.
        setattr(settings, OWN_SETTING, {ENGINE: backends[ENGINE]})
        tracker = importlib.import_module("eventtracking.django.django_tracker").DjangoTracker
        try:
            engine = tracker(OWN_SETTING, f"{OWN_SETTING}_NO_PROCESSORS").backends[ENGINE]
        except (ValueError, TypeError, ImportError, AttributeError) as error:
            raise JobError(
                f"EVENT_TRACKING_BACKENDS in the LMS settings can't be used ({error}): "
                "fix the setting and run the command again."
            ) from None
        for name, router in (getattr(engine, "backends", None) or {}).items():
            if name.lower() == self.type and hasattr(router, "process_event"):
                return router
        return None

    def known(self, name: str) -> bool:
        """Is this an event that the type transforms: on the router's white list, or else in its registry?"""
        return name in self.known_names

    def _find_known_names(self) -> frozenset[str]:
        if self._whitelists:
            return frozenset.intersection(*map(frozenset, self._whitelists))
        return self._registered

    @property
    def includes_deleted_users(self) -> bool:
        """Does it look for the external ids of users whom ERB does not find any more?"""
        return self._deleted_users is not None

    @property
    def looks_ahead(self) -> bool:
        """Does it look up events in bulk before they are transformed?"""
        return self._lookups is not None

    def look_up(self, events: Iterable[Event]) -> None:
        """Ask the database for all that these events need, together. Never raises."""
        if self._lookups is None:
            return
        several = [event.fields for event in events if self._has_transformer(event.name)]
        self._lookups.look_up(several)
        if self._deleted_users is not None:
            missing = self._lookups.is_missing
            self._deleted_users.look_up([fields for fields in several if missing(person_of(fields))])

    def makes_one(self, name: str) -> bool:
        """Does ERB make one statement of each event of this type, if any?

        Not of those for which it has a ``OneToManyXApiTransformerMixin``; and what other plugins do is not known.
        """
        transformers = [registry.mapping[name] for registry in self._registries if name in registry.mapping]
        return bool(transformers) and not any(
            hasattr(transformer, "transform_children") or not transformer.__module__.startswith(f"{ERB_PACKAGE}.")
            for transformer in transformers
        )

    def _has_transformer(self, name: str) -> bool:
        return name in self._registered

    def statements(self, event: Event, raw: bytes) -> list[Statement]:
        """The statements that ERB makes of ``event``; ``raw`` is its log line.

        Raises :class:`Untransformable`, and :class:`~.errors.Unavailable` when the database stays unavailable.
        """
        if self._deleted_users is not None:
            self._deleted_users.begin(event.fields)
        if self._xapi_fast_path is not None and self._xapi_fast_path.takes(event.name):
            made = self._by_fast_path(self._xapi_fast_path, event, raw)
            if made is not None:
                return made
            # The fast path may have taken fields out of the event's data already.
            event = parse(raw)
        fields = self._process(event, raw)
        if not fields:
            raise self._nothing_made(event)
        return [self._statement(made_fields, raw, index) for index, made_fields in enumerate(fields)]

    def _nothing_made(self, event: Event) -> Untransformable:
        if not self._has_transformer(event.name):
            return Untransformable(dead_letters.NO_TRANSFORMER, f"no {self.type} transformer for {event.name}")
        return Untransformable(dead_letters.NO_STATEMENT, "ERB made no statement (an object without an id?)")

    def _by_fast_path(self, xapi_fast_path: XapiFastPath, event: Event, raw: bytes) -> list[Statement] | None:
        """The statements, or ``None`` if the fallback has to say what is wrong.

        With filters, the fallback would run their steps again, which may write elsewhere: it is left out.
        """
        try:
            made = xapi_fast_path.statements(event)
        except NotJson as error:
            raise Untransformable(dead_letters.NOT_JSON, str(error)) from None
        except ValueError as error:
            wrong = _untransformable(error)
            if self._runs_filters or wrong.reason != dead_letters.ERB_ERROR:
                raise wrong from None
            return None
        except Exception as error:
            # For an unavailable database the fallback waits.
            if self._runs_filters and not _is_outage(error):
                raise _untransformable(error) from None
            return None
        if not made:
            raise self._nothing_made(event)
        return made

    def _process(self, event: Event, raw: bytes) -> list[dict[str, Any]]:
        def attempt() -> list[dict[str, Any]]:
            nonlocal event
            try:
                with patches.removed() if self._xapi_fast_path else contextlib.nullcontext():
                    return list(self.router.process_event(dict(event.fields)))
            except Exception as error:
                if _is_outage(error):
                    connections.close_all()
                    # ERB takes fields out of the event's data as it goes: the next try needs them all.
                    event = parse(raw)
                    raise TransientError(f"The LMS's database does not answer ({error})") from None
                # One event's exception is that event's alone, whatever it is.
                raise _untransformable(error) from None

        return retrying(attempt, self._max_wait_secs)

    def _statement(self, fields: dict[str, Any], raw: bytes, index: int) -> Statement:
        if self._stable_ids:
            _make_id_stable(fields, raw, index)
        try:
            body = json.dumps(fields, allow_nan=False).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            raise Untransformable(dead_letters.NOT_JSON, str(error)) from None
        return Statement(statement_id(fields), body)


def _is_outage(error: Exception) -> bool:
    """Is the database unavailable? Else it refuses this query."""
    of_query = bool(error.args) and error.args[0] in MIX_OF_COLLATIONS
    return isinstance(error, (OperationalError, InterfaceError)) and not of_query


def _untransformable(error: Exception) -> Untransformable:
    detail = str(error)
    if isinstance(error, ValueError):
        for pattern, reason in ERB_REASONS:
            if pattern.search(detail):
                return Untransformable(reason, detail)
    return Untransformable(dead_letters.ERB_ERROR, f"{type(error).__name__}: {detail}")


def _make_id_stable(envelope: dict[str, Any], raw: bytes, index: int) -> None:
    """Put a uuid5 of the log line in place of ERB's random one (CaliperTransformer._add_generic_fields).

    A replay would otherwise make every event a new one for its receiver.
    """
    text = raw.decode("utf-8", "replace") + (f"#{index}" if index else "")
    for number, data in enumerate(envelope.get("data") or []):
        suffix = f"/{number}" if number else ""
        data["id"] = uuid.uuid5(uuid.NAMESPACE_URL, text + suffix).urn


def _recommended_backends() -> Mapping[str, Any]:
    """What ERB's own plugin settings make of EVENT_TRACKING_BACKENDS on a site that sets nothing itself."""

    class Defaults:
        LMS_ROOT_URL = getattr(settings, "LMS_ROOT_URL", "")

    for name in ("EVENT_TRACKING_BACKENDS_ALLOWED_XAPI_EVENTS", "EVENT_TRACKING_BACKENDS_ALLOWED_CALIPER_EVENTS"):
        if getattr(settings, name, None):
            setattr(Defaults, name, list(getattr(settings, name)))
    importlib.import_module("event_routing_backends.settings.common").plugin_settings(Defaults)
    backends: Mapping[str, Any] = Defaults.EVENT_TRACKING_BACKENDS  # type: ignore[attr-defined]  # ERB sets it
    return backends

"""Actors, verbs and courses of statements: created once, kept, and shared by all statements that have them.

Only ERB's own transformers get shared objects. They put an object into a statement and never change it (ERB itself
shares the ``_verb`` of a class in this way). A transformer of another plugin might change it, so it gets objects of its
own. The first time, ERB's own method creates the object, which then keeps its JSON text.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from django.conf import settings

from ..read.events import person_of
from ..util.bounded_dict import BoundedDict
from .sources import ERB, ErbsOwn, is_known
from .tincan import SharedActivityList, SharedAgent, SharedVerb, maker

KEPT_ACTORS = 20_000
KEPT_COURSE_OBJECTS = 2_000
KEPT_VERBS = 1_000
# The attributes in which a transformer keeps its actor and its verb. Each transformer is created for one event.
ACTOR = "_transform_logs_actor"
VERB = "_transform_logs_verb"

Method = Callable[[Any], Any]


def _shared(cls: Any, original: Any) -> Any:
    interned: Any = cls.__new__(cls)
    if isinstance(original, list):
        list.extend(interned, original)
    vars(interned).update(vars(original))
    object.__setattr__(interned, "text", json.dumps(original.as_version()))
    return interned


class Interner:
    """Replaces methods of ERB's transformers by methods that return shared objects.

    The methods that it takes are ERB's own, without the decorators that run Open edX filters. ``knows_people``: ERB
    finds the user of an event as :func:`~.events.person_of` does.
    """

    def __init__(
        self,
        knows_people: bool,
        get_actor: Method,
        get_verb: Method,
        look_verb_up: Method,
        get_context_activities: Method,
    ) -> None:
        self._own = ErbsOwn()
        self._by_email = settings.XAPI_AGENT_IFI_TYPE in ("mbox", "mbox_sha1sum")
        self._get_actor = get_actor
        self._get_verb = get_verb
        self._look_verb_up = look_verb_up
        self._get_context_activities = get_context_activities
        self._actors: BoundedDict[str, Any] = BoundedDict(KEPT_ACTORS)
        self._verbs: BoundedDict[tuple[str, str], Any] = BoundedDict(KEPT_VERBS)
        self._courses: BoundedDict[tuple[str, str], Any] = BoundedDict(KEPT_COURSE_OBJECTS)
        # Its functions are looked up at each call, because ``patches`` replaces some of them.
        self._erb: Any = importlib.import_module(f"{ERB}.processors.xapi.transformer")
        self._knows_people = knows_people
        activities = self._erb.ContextActivities
        self._with_parent: Method = lambda parent: activities(parent=parent)
        if is_known("tincan"):
            self._with_parent = maker(activities, "parent")
        self._verbs_of_classes: dict[type, tuple[Any, Any]] = {}
        """Class of a transformer -> its ``_verb`` and the shared verb that is equal to it."""

    def methods(self) -> tuple[Method, Method, Method, Method]:
        """``get_actor``, ``get_verb``, the mixin's ``get_verb`` and ``get_context_activities`` for classes."""
        return (
            lambda transformer: self.actor(transformer),
            lambda transformer: self.verb(transformer),
            lambda transformer: self.verb_of_map(transformer),
            lambda transformer: self.context_activities(transformer),
        )

    def actor(self, transformer: Any) -> Any:
        """As ``XApiTransformer.get_actor``. It is kept, because ERB needs it for the id and for the statement."""
        found = transformer.__dict__.get(ACTOR)
        if found is not None:
            return found
        if self._by_email or not self._own[type(transformer)]:
            return self._get_actor(transformer)
        # As extract_username_or_userid, but for the values that name nobody, which ERB's error quotes.
        known = person_of(transformer.event) if self._knows_people else None
        who = known or transformer.extract_username_or_userid()
        user = self._erb.get_anonymous_user_id(who, "XAPI")
        found = self._actors.get(user)
        if found is None:
            found = _shared(SharedAgent, self._get_actor(transformer))
            self._actors.put(user, found)
        transformer.__dict__[ACTOR] = found
        return found

    def verb(self, transformer: Any) -> Any:
        """As ``XApiTransformer.get_verb``. It is kept, because ERB needs it for the id and for the statement."""
        found = transformer.__dict__.get(VERB)
        if found is None:
            found = self._get_verb(transformer)
            if self._own[type(transformer)]:
                if type(found) is self._erb.Verb:
                    found = self._verb_of_class(transformer, found)
                transformer.__dict__[VERB] = found
        return found

    def _verb_of_class(self, transformer: Any, verb: Any) -> Any:
        """The shared verb that is equal to ``verb``, if that is the ``_verb`` of the class, which nobody changes."""
        cls = type(transformer)
        if verb is not getattr(cls, "_verb", None):
            return verb
        known = self._verbs_of_classes.get(cls)
        if known is None or known[0] is not verb:
            known = self._verbs_of_classes[cls] = (verb, _shared(SharedVerb, verb))
        return known[1]

    def verb_of_map(self, transformer: Any) -> Any:
        """As ``XApiVerbTransformerMixin.get_verb``."""
        if not self._own[type(transformer)]:
            return self._look_verb_up(transformer)
        name = transformer.get_data("name", True)
        in_browser = (
            name == "problem_check"
            and (transformer.get_data("event_source") or transformer.get_data("context.event_source")) == "browser"
        )
        verb = transformer.verb_map["problem_check_browser" if in_browser else name]
        key = (verb["id"], verb["display"])
        found = self._verbs.get(key)
        if found is None:
            found = _shared(SharedVerb, self._look_verb_up(transformer))
            self._verbs.put(key, found)
        return found

    def context_activities(self, transformer: Any) -> Any:
        """As ``XApiTransformer.get_context_activities``. Only the list of parents is shared, not its container."""
        course_id = transformer.get_data("context.course_id")
        if course_id is None or type(course_id) is not str or not self._own[type(transformer)]:
            return self._get_context_activities(transformer)
        name = self._erb.get_course_from_id(course_id)["display_name"]
        key = (course_id, name)
        found = self._courses.get(key)
        if found is None:
            made = self._get_context_activities(transformer)
            self._courses.put(key, _shared(SharedActivityList, made.parent))
            return made
        return self._with_parent(found)

"""Which endpoints statements go to: those of the settings, or every enabled router of the LMS's own database."""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..config.schema import JobConfig
from ..config.validators import MAX_PATTERN
from ..util.errors import JobError, PermanentError
from ..util.formatting import shown_url
from .caliper_arrays import EndpointMemory, ProcessMemory
from .lrs import Lrs
from .lrs_client import Target

log = logging.getLogger(__name__)

PARTS = ("match_params", "override_args", "headers")
"""Of a router's configurations: which events it takes, what it changes in them, and what it sends with them."""
SETTING_UP = "Add one in the Django admin (Router Configurations), or set TRANSFORM_LOGS_LRS_ENDPOINTS."


def open_endpoints(
    config: JobConfig, memory_of: Callable[[str], EndpointMemory] = lambda _id: ProcessMemory()
) -> list[Lrs]:
    """The endpoints that this job delivers to. ``memory_of``: what is known of the one with this id.

    Raises :class:`~.errors.JobError` if there is none, or if ``lrs_urls`` names a URL that no endpoint has.
    """
    if config.lrs_endpoints:
        targets = [
            Target(e.url, config.transformer_type, e.username, e.password, e.bearer) for e in config.lrs_endpoints
        ]
    else:
        first_urls = _first_urls(config.transformer_type)
        routers = _enabled_routers(config.transformer_type)
        targets = [_target(router, config.transformer_type, first_urls) for router in routers]
        if not targets:
            raise PermanentError(f"There is no enabled router for {config.transformer_type} in the LMS. {SETTING_UP}")
    targets = with_own_names(targets)
    if config.lrs_urls:
        targets = _limited(targets, config.lrs_urls)
    limits = (config.lrs_timeout_secs, config.lrs_max_wait_secs, config.batch_max_bytes)
    return [Lrs(target, *limits, memory_of) for target in targets]


def with_own_names(targets: Sequence[Target]) -> list[Target]:
    """The targets, each with a name of its own: the shortest one that no other has."""
    used = [Counter(names) for names in zip(*(target.names for target in targets), strict=True)]
    return [
        replace(target, own_name=next(name for name, times in zip(target.names, used, strict=True) if times[name] == 1))
        for target in targets
    ]


def _limited(targets: list[Target], urls: tuple[str, ...]) -> list[Target]:
    known_urls = dict.fromkeys(target.url.rstrip("/") for target in targets)
    missing = [url for url in urls if url.rstrip("/") not in known_urls]
    if missing:
        known = ", ".join(map(shown_url, known_urls))
        raise PermanentError(
            f"lrs_urls: {', '.join(map(shown_url, missing))} is not the URL of an enabled router. Choose from: {known}."
        )
    wanted = {url.rstrip("/") for url in urls}
    return [target for target in targets if target.url.rstrip("/") in wanted]


def _enabled_routers(transformer_type: str) -> list[Any]:
    """The current, enabled RouterConfigurations of the type, whatever the case of their ``backend_name``.

    ERB asks the database for "xapi" where the table has "xAPI": found on MySQL only.
    """
    model = importlib.import_module("event_routing_backends.models").RouterConfiguration
    routers = model.objects.current_set().filter(enabled=True).order_by("route_url")
    return [router for router in routers if router.backend_name.lower() == transformer_type]


def _first_urls(transformer_type: str) -> dict[str, str]:
    """URL without a slash at its end -> how it was written in the first router that had it.

    No row of this table is ever changed, so that the answer stays the same: routers that are added later, or disabled,
    are rows, too.
    """
    model = importlib.import_module("event_routing_backends.models").RouterConfiguration
    first: dict[str, str] = {}
    for url, backend_name in model.objects.order_by("pk").values_list("route_url", "backend_name"):
        if backend_name.lower() == transformer_type:
            first.setdefault(url.rstrip("/"), url)
    return first


def _target(router: Any, transformer_type: str, first_urls: Mapping[str, str]) -> Target:
    """A router as a target, as ERB's ``EventsRouter.configure_host`` reads it."""
    _check_url(router)
    configurations = _an_object(router, "configurations", router.configurations)
    parts = {name: _an_object(router, name, configurations.get(name)) for name in PARTS}
    _check_match_params(router.route_url, parts["match_params"])
    basic = router.auth_scheme == router.AUTH_BASIC
    overrides = parts["override_args"]
    is_first = first_urls[router.route_url.rstrip("/")] == router.route_url

    def routing(event: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any]]:
        return bool(router.get_allowed_host(event)), overrides

    return Target(
        url=router.route_url,
        transformer_type=transformer_type,
        username=(router.username or "") if basic else "",
        password=(router.password or "") if basic else "",
        bearer=(router.auth_key or "") if router.auth_scheme == router.AUTH_BEARER else "",
        headers=parts["headers"] if transformer_type == "caliper" else {},
        routing=routing,
        own_account="" if is_first else f"router {router.route_url} {router.username or ''}",
    )


def _check_url(router: Any) -> None:
    """Its URL is not repeated: it may hold a password."""
    try:
        if urlsplit(router.route_url).hostname:
            return
    except ValueError:
        pass
    raise JobError(
        f"The URL of the router {router.pk} ({router.backend_name}) can't be used. Fix it in the Django admin (Router "
        "Configurations)."
    )


def _an_object(router: Any, name: str, value: Any) -> Mapping[str, Any]:
    """``value``, a JSON object or nothing."""
    if not isinstance(value or {}, Mapping):
        url = shown_url(router.route_url)
        raise JobError(f"The {name} of the router {url} are not a JSON object. Fix them in the Django admin.")
    return value or {}


def _check_match_params(url: str, match_params: Mapping[str, Any]) -> None:
    """ERB compiles these for every event, so a bad one would be an error for every event."""
    for key, value in match_params.items():
        name = f"match_params {key} of the router {shown_url(url)}"
        for pattern in map(str, value if isinstance(value, list) else [value]):
            if len(pattern) > MAX_PATTERN:
                raise JobError(
                    f"{name} has a regular expression of {len(pattern):,} characters, and {MAX_PATTERN:,} are allowed. "
                    "Shorten it in the Django admin."
                )
            try:
                # A warning for each bracket in brackets is of no use here.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                raise JobError(
                    f"{name} is not a valid regular expression ({error}). Fix it in the Django admin."
                ) from None

"""What the job posts is what ERB's own clients post: compared on the wire, event by event and in bulk."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings
from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event

from tests.harness.erb import comparable, live_router, transformer
from tests.harness.http_sinks import CaliperSink, ScriptedLrs
from tests.harness.parity import KINDS, scene, white_list
from tutor_transform_logs.demo import events, samples
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.lms_job.deliver.lrs import Lrs
from tutor_transform_logs.lms_job.deliver.lrs_client import Target
from tutor_transform_logs.lms_job.model.delivery import OutgoingStatement, SourcedStatement
from tutor_transform_logs.lms_job.model.records import Line
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.transform.transformer import Transformer, Untransformable

pytestmark = pytest.mark.usefixtures("lms")

FAST_PATH = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "slow"])


def lines(kind: Kind) -> list[bytes]:
    """Each event type in several courses, one of them a CCX; problems with several questions; the demo's logs."""
    many = [events.problem_check_many("problem_check", scene("", number)) for number in range(10)]
    names = sorted(white_list(kind))
    each = [
        events.build(name, scene(name, 5 * number + course)) for number, name in enumerate(names) for course in (0, 2)
    ]
    assert any("ccx-v1:" in json.dumps(event) for event in each)
    demo = [line.data for name in samples.FILES for line in samples.FILES[name]() if line.data]
    return [*(json.dumps(event).encode() for event in [*each, *many]), *demo]


@pytest.fixture(autouse=True)
def erb_is_quiet() -> Iterator[None]:
    """ERB logs a traceback for each event that it can't transform."""
    erb_log = logging.getLogger("event_routing_backends")
    level = erb_log.level
    erb_log.setLevel(logging.CRITICAL)
    with override_settings(XAPI_EVENTS_ENABLED=True, CALIPER_EVENTS_ENABLED=True, XAPI_EVENT_LOGGING_ENABLED=False):
        yield
    erb_log.setLevel(level)


def erbs_events(logged: list[bytes]) -> Iterator[dict[str, Any]]:
    """The events of lines that are events, as ERB reads them."""
    for line in logged:
        event = parse_json_event(line.decode("utf-8", "replace"))
        if event and "name" in event:
            yield event


def outgoing(made: Transformer, lrs: Lrs, line: bytes) -> list[OutgoingStatement]:
    """What the job sends to ``lrs`` of a line; nothing where ERB can't transform it."""
    try:
        event = parse(line)
        statements = made.statements(event, line) if made.known(event.name) else []
    except (Unparsable, Untransformable):
        return []
    sourced = [SourcedStatement(statement, event, Line(0, len(line), 1, line)) for statement in statements]
    routed = [(source, lrs.route(source)) for source in sourced]
    return [OutgoingStatement(source, body) for source, body in routed if body is not None]


def endpoint(url: str, kind: Kind) -> Lrs:
    return Lrs(Target(url, kind), timeout_secs=10, max_wait_secs=1, batch_max_bytes=10**7)


def taken(kind: Kind, server: ScriptedLrs | CaliperSink) -> list[Any]:
    """What the server has got since the last call, in order."""
    requests = list(server.requests)
    server.requests.clear()
    items = [item for request in requests for item in request.items()]
    return items if kind == "xapi" else [comparable(kind, envelope) for envelope in items]


def posted_live(kind: Kind, logged: list[bytes], server: ScriptedLrs | CaliperSink) -> list[list[Any]]:
    """What ERB's live path posts of each line."""
    posted = []
    with live_router(kind, server.url.removesuffix("statements")) as router:
        for line in logged:
            forget_statements(server)
            for event in erbs_events([line]):
                try:
                    router.send(event)
                except Exception:
                    # One event that ERB can't transform: nothing is sent.
                    assert not server.requests
            posted.append(taken(kind, server))
    return posted


def assert_posted_as_live(kind: Kind, logged: list[bytes], server: ScriptedLrs | CaliperSink, fast_path: bool) -> int:
    """Compare what the job and ERB's live path post of each line; gives the number of statements or envelopes."""
    live = posted_live(kind, logged, server)
    lrs = endpoint(server.url, kind)
    with transformer(kind, fast_path=fast_path) as made:
        for line, expected in zip(logged, live, strict=True):
            forget_statements(server)
            lrs.deliver("batch", outgoing(made, lrs, line))
            # As text: in the same order, too.
            assert list(map(json.dumps, taken(kind, server))) == list(map(json.dumps, expected))
    return sum(map(len, live))


def forget_statements(server: ScriptedLrs | CaliperSink) -> None:
    if isinstance(server, ScriptedLrs):
        server.statements.clear()


@FAST_PATH
@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_posted_as_erb_posts_it_live(
    kind: Kind, fast_path: bool, scripted_lrs: ScriptedLrs, caliper_sink: CaliperSink
) -> None:
    server = scripted_lrs if kind == "xapi" else caliper_sink
    assert assert_posted_as_live(kind, lines(kind), server, fast_path) > len(white_list(kind))


@FAST_PATH
@pytest.mark.parametrize("identified_by", ["mbox", "mbox_sha1sum"])
def test_actors_are_posted_as_erb_posts_them_live(
    identified_by: str, fast_path: bool, scripted_lrs: ScriptedLrs
) -> None:
    several = [events.problem_check_many("problem_check", scene("", number)) for number in range(20)]
    logged = [json.dumps(event).encode() for event in several]
    with override_settings(XAPI_AGENT_IFI_TYPE=identified_by):
        assert assert_posted_as_live("xapi", logged, scripted_lrs, fast_path) == 4 * len(several)


@FAST_PATH
def test_statements_are_posted_as_erb_posts_them_in_bulk(fast_path: bool, scripted_lrs: ScriptedLrs) -> None:
    """Caliper has no such test: ERB asks each envelope for an ``id``, which none has, and posts nothing."""
    url = scripted_lrs.url.removesuffix("statements")
    logged = lines("xapi")
    with live_router("xapi", url) as router:
        can = [event for event in erbs_events(logged) if is_transformed(router.process_event, event)]
        router.bulk_send(can)
    [request] = scripted_lrs.requests
    bulk = taken("xapi", scripted_lrs)
    assert request.method == "POST"
    scripted_lrs.statements.clear()
    lrs = endpoint(url, "xapi")
    with transformer("xapi", fast_path=fast_path) as made:
        lrs.deliver("batch", [statement for line in logged for statement in outgoing(made, lrs, line)])
    assert list(map(json.dumps, taken("xapi", scripted_lrs))) == list(map(json.dumps, bulk))
    assert any(statement["context"].get("statement") for statement in bulk)
    assert "GroupActivity" not in json.dumps(bulk)


def test_the_fast_path_knows_what_erb_posts_without_parsing_it_again() -> None:
    with transformer("xapi") as made:
        sent = [statement for line in lines("xapi") for statement in outgoing(made, endpoint("http://x", "xapi"), line)]
        known = [each.made.statement for each in sent if each.made.statement.wire_body is not None]
    assert len(known) == len(sent)
    assert any(statement.wire_body != statement.body for statement in known)


@FAST_PATH
@pytest.mark.parametrize(
    "overrides", [{"context": {"platform": "ours"}, "authority": {"mbox": "mailto:x@example.org"}}, {"unknown": 1}]
)
def test_overrides_are_posted_as_erb_posts_them(
    fast_path: bool, overrides: dict[str, Any], scripted_lrs: ScriptedLrs
) -> None:
    """What tincan can't parse ERB does not post at all; the job does, and leaves the decision to the LRS."""
    url = scripted_lrs.url.removesuffix("statements")
    line = json.dumps(events.problem_check_many("problem_check", scene("", 1))).encode()
    with live_router("xapi", url, configurations={"override_args": overrides}) as router:
        for event in erbs_events([line]):
            if "unknown" in overrides:
                with pytest.raises(AttributeError, match="unknown"):
                    router.send(event)
            else:
                router.send(event)
    live = taken("xapi", scripted_lrs)
    scripted_lrs.statements.clear()
    target = Target(scripted_lrs.url, "xapi", routing=lambda event: (True, overrides))
    lrs = Lrs(target, timeout_secs=10, max_wait_secs=1, batch_max_bytes=10**7)
    with transformer("xapi", fast_path=fast_path) as made:
        lrs.deliver("batch", outgoing(made, lrs, line))
    posted = taken("xapi", scripted_lrs)
    if "unknown" in overrides:
        assert not live
        assert [statement["unknown"] for statement in posted] == [1] * 4
    else:
        assert list(map(json.dumps, posted)) == list(map(json.dumps, live))


def is_transformed(process_event: Callable[[Any], Any], event: dict[str, Any]) -> bool:
    """One event on which ERB raises an error would end its bulk run."""
    try:
        process_event(json.loads(json.dumps(event)))
    except Exception:
        return False
    return True

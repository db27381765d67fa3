"""Statements equal to ERB's own, for random variations of all event types.

``TRANSFORM_LOGS_VARIATIONS=100000 make test PYTEST=tests/fast/test_variations.py`` tries 100,000.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.erb import transformer
from tests.harness.parity import KINDS, Way, assert_parity, scene, white_list
from tests.harness.variations import CHANGES, STRANGE, changed
from tutor_transform_logs.demo import events
from tutor_transform_logs.demo.outcomes import Kind
from tutor_transform_logs.lms_job.model.records import Event
from tutor_transform_logs.lms_job.read.events import Unparsable, parse

VARIATIONS = int(os.environ.get("TRANSFORM_LOGS_VARIATIONS", "1000"))
AT_ONCE = 20
# Numbers and texts of every sort, beside the values that are known to be strange.
ANY = STRANGE | st.floats(allow_nan=True) | st.integers() | st.text(max_size=20) | st.booleans()
VARIED = st.tuples(
    st.integers(0, 10**6),
    CHANGES | st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["put", "add"]), ANY), max_size=2),
)

pytestmark = pytest.mark.usefixtures("lms")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_variations_of_all_event_types_are_the_same(kind: Kind) -> None:
    with override_settings(CALIPER_EVENTS_ENABLED=True), transformer(kind) as made:
        names = sorted(white_list(kind))
        way = Way(kind, made)

        @settings(max_examples=max(1, VARIATIONS // AT_ONCE), deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(VARIED, min_size=AT_ONCE, max_size=AT_ONCE))
        def check(varied: list[tuple[int, list[tuple[int, str, Any]]]]) -> None:
            lines, parsed = [], []
            for number, changes in varied:
                event = changed(events.build(names[number % len(names)], scene("", number)), changes)
                lines.append(json.dumps(event).encode())
                parsed += [event for event in [as_event(lines[-1])] if event is not None]
            made.look_up(parsed)
            for raw in lines:
                # NaN is not equal to itself: such a line is neither ERB's nor the job's to send.
                if b"NaN" not in raw:
                    assert_parity(way, raw)

        check()


def as_event(raw: bytes) -> Event | None:
    try:
        return parse(raw)
    except Unparsable:
        return None

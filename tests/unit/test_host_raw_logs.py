"""Where raw tracking logs are in ClickHouse, from the settings of Aspects or tutor-contrib-cairn alone."""

from __future__ import annotations

from typing import Any

import pytest
from tutor.exceptions import TutorError

from tutor_transform_logs import job_config

ASPECTS: dict[str, Any] = {
    "PLUGINS": ["aspects"],
    "ASPECTS_XAPI_DATABASE": "xapi",
    "ASPECTS_VECTOR_STORE_TRACKING_LOGS": True,
    "ASPECTS_VECTOR_DATABASE": "openedx",
    "ASPECTS_VECTOR_RAW_TRACKING_LOGS_TABLE": "_tracking",
    "ASPECTS_CLICKHOUSE_VECTOR_USER": "ch_vector",
    "ASPECTS_CLICKHOUSE_VECTOR_PASSWORD": "vector's",
    "CLICKHOUSE_HOST": "clickhouse",
    "CLICKHOUSE_INTERNAL_HTTP_PORT": "8123",
    "CLICKHOUSE_SECURE_CONNECTION": False,
}
CAIRN: dict[str, Any] = {
    "PLUGINS": ["cairn"],
    "CAIRN_CLICKHOUSE_HOST": "cairn-clickhouse",
    "CAIRN_CLICKHOUSE_HTTP_PORT": 8443,
    "CAIRN_CLICKHOUSE_HTTP_SCHEME": "https",
    "CAIRN_CLICKHOUSE_DATABASE": "openedx",
    "CAIRN_CLICKHOUSE_USERNAME": "openedx",
    "CAIRN_CLICKHOUSE_PASSWORD": "cairn's",
}
OF_ASPECTS = {
    "source_host": "clickhouse",
    "source_port": "8123",
    "source_secure": False,
    "source_key": "ch_vector",
    "source_secret": "vector's",
    "source_container": "openedx",
    "source_prefix": "_tracking",
}
OF_CAIRN = {
    "source_host": "cairn-clickhouse",
    "source_port": 8443,
    "source_secure": True,
    "source_key": "openedx",
    "source_secret": "cairn's",
    "source_container": "openedx",
    "source_prefix": "_tracking",
}
BOTH = {**CAIRN, **ASPECTS, "PLUGINS": ["aspects", "cairn"]}
CHOSEN = {"source_provider": "clickhouse", "destination_provider": "LRS"}


@pytest.mark.parametrize(
    ("site", "given", "expected"),
    [
        (ASPECTS, {}, OF_ASPECTS),
        (CAIRN, {}, OF_CAIRN),
        (BOTH, {}, OF_ASPECTS),
        ({**BOTH, "ASPECTS_VECTOR_STORE_TRACKING_LOGS": False}, {}, OF_CAIRN),
        (ASPECTS, {"source_prefix": "_tracking/2026-01"}, {**OF_ASPECTS, "source_prefix": "_tracking/2026-01"}),
        # Another server gets no password of this one, and another user neither.
        (ASPECTS, {"source_host": "other"}, {"source_host": "other"}),
        (
            ASPECTS,
            {"source_key": "me"},
            {**{key: value for key, value in OF_ASPECTS.items() if key != "source_secret"}, "source_key": "me"},
        ),
        ({"PLUGINS": []}, {}, {}),
    ],
)
def test_the_source_is_where_the_site_has_its_raw_logs(
    site: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert job_config.with_site_defaults({**CHOSEN, **given}, site) == {**CHOSEN, **expected}


def test_another_source_is_not_touched() -> None:
    given = {"source_provider": "LOCAL", "destination_provider": "LRS"}
    assert job_config.with_site_defaults(given, ASPECTS) == given


def test_the_job_takes_it() -> None:
    config = job_config.check(job_config.with_site_defaults(CHOSEN, ASPECTS))
    assert str(config.source) == "CLICKHOUSE clickhouse/openedx/_tracking"
    assert not config.source.needs_libcloud


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({}, "TRANSFORM_LOGS_SOURCE_HOST (--source-host): not set, and CLICKHOUSE needs one"),
        (
            {"source_host": "c"},
            "TRANSFORM_LOGS_SOURCE_CONTAINER (--source-container): not set, and CLICKHOUSE needs one",
        ),
        ({"source_host": "c", "source_container": "d"}, "TRANSFORM_LOGS_SOURCE_PREFIX (--source-prefix): not set"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, Any], detail: str) -> None:
    with pytest.raises(TutorError) as raised:
        job_config.check({**CHOSEN, **given})
    assert detail in str(raised.value)

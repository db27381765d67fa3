"""Where statements go on a site with Aspects, from the settings alone; tests/host/test_aspects.py has the real ones."""

from __future__ import annotations

from typing import Any

import pytest
from tutor.exceptions import TutorError

from tutor_transform_logs import aspects, job_config

VECTOR_SITE: dict[str, Any] = {
    "PLUGINS": ["aspects"],
    "ASPECTS_XAPI_SOURCE": "vector",
    "ASPECTS_XAPI_DATABASE": "openedx",
    "ASPECTS_VECTOR_DATABASE": "openedx",
    "ASPECTS_RAW_XAPI_TABLE": "xapi_events_all",
    "ASPECTS_CLICKHOUSE_VECTOR_USER": "ch_vector",
    "ASPECTS_CLICKHOUSE_VECTOR_PASSWORD": "vector's",
    "ASPECTS_CLICKHOUSE_LRS_USER": "ch_lrs",
    "ASPECTS_CLICKHOUSE_LRS_PASSWORD": "ralph's",
    "CLICKHOUSE_HOST": "clickhouse",
    "CLICKHOUSE_INTERNAL_HTTP_PORT": "8123",
    "CLICKHOUSE_SECURE_CONNECTION": False,
}
RALPH_SITE = {**VECTOR_SITE, "ASPECTS_XAPI_SOURCE": "ralph", "ASPECTS_XAPI_DATABASE": "xapi"}
OF_VECTOR = {
    "destination_provider": "CLICKHOUSE",
    "clickhouse_url": "http://clickhouse:8123",
    "clickhouse_database": "openedx",
    "clickhouse_table": "xapi_events_all",
    "clickhouse_username": "ch_vector",
    "clickhouse_password": "vector's",
}
OF_RALPH = {
    **OF_VECTOR,
    "clickhouse_database": "xapi",
    "clickhouse_username": "ch_lrs",
    "clickhouse_password": "ralph's",
}
WITH_TLS: dict[str, Any] = {"CLICKHOUSE_SECURE_CONNECTION": True, "CLICKHOUSE_INTERNAL_HTTP_PORT": "8443"}
CHOSEN = {"destination_provider": "clickhouse"}


@pytest.mark.parametrize(
    ("site", "given", "expected"),
    [
        (VECTOR_SITE, {}, OF_VECTOR),
        (
            {**VECTOR_SITE, "CLICKHOUSE_SECURE_CONNECTION": True, "CLICKHOUSE_INTERNAL_HTTP_PORT": 8443},
            {},
            OF_VECTOR | {"clickhouse_url": "https://clickhouse:8443"},
        ),
        (VECTOR_SITE, {"clickhouse_table": "mine"}, OF_VECTOR | {"clickhouse_table": "mine"}),
        # Vector's user may not write to Ralph's database, and the other way round.
        (RALPH_SITE, CHOSEN, OF_RALPH | CHOSEN),
        (RALPH_SITE, {**CHOSEN, "clickhouse_database": "openedx"}, OF_VECTOR | CHOSEN),
        (VECTOR_SITE, {"clickhouse_database": "xapi"}, OF_RALPH),
        # Another ClickHouse has other users and names, and another user has another password.
        (
            VECTOR_SITE,
            {"clickhouse_url": "http://c:1"},
            {"destination_provider": "CLICKHOUSE", "clickhouse_url": "http://c:1"},
        ),
        (
            VECTOR_SITE,
            {"clickhouse_username": "me", "clickhouse_password": "mine"},
            {**OF_VECTOR, "clickhouse_username": "me", "clickhouse_password": "mine"},
        ),
        # Another destination is not touched.
        (RALPH_SITE, {}, {}),
        ({**VECTOR_SITE, "PLUGINS": []}, {}, {}),
        ({**VECTOR_SITE, "PLUGINS": []}, CHOSEN, CHOSEN),
        (VECTOR_SITE, {"lrs_endpoints": [{"url": "http://l"}]}, {"lrs_endpoints": [{"url": "http://l"}]}),
        (VECTOR_SITE, {"lrs_urls": ["http://l"]}, {"lrs_urls": ["http://l"]}),
        (VECTOR_SITE, {"destination_provider": "LRS"}, {"destination_provider": "LRS"}),
        (VECTOR_SITE, {"destination_provider": "LOCAL"}, {"destination_provider": "LOCAL"}),
    ],
)
def test_the_destination_is_where_aspects_has_its_statements(
    site: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert job_config.with_site_defaults(given, site) == expected


def test_a_user_of_ones_own_is_not_given_the_password_of_aspects() -> None:
    assert "clickhouse_password" not in job_config.with_site_defaults({"clickhouse_username": "me"}, VECTOR_SITE)


@pytest.mark.parametrize(
    ("site", "given", "line"),
    [
        (
            VECTOR_SITE,
            {},
            "table openedx.xapi_events_all in ClickHouse at http://clickhouse:8123 (ASPECTS_XAPI_SOURCE is vector)",
        ),
        (RALPH_SITE, {}, "the LRSs of the LMS's routers (ASPECTS_XAPI_SOURCE is ralph)"),
        ({}, {}, "the LRSs of the LMS's routers (LRS is the default without Aspects)"),
        (
            VECTOR_SITE,
            {"lrs_endpoints": [{"url": "http://l"}]},
            "the LRSs in the settings (TRANSFORM_LOGS_LRS_ENDPOINTS is set)",
        ),
        (
            {},
            CHOSEN,
            "the table in ClickHouse that the LMS settings name (TRANSFORM_LOGS_DESTINATION_PROVIDER is CLICKHOUSE)",
        ),
        (
            VECTOR_SITE,
            {"destination_provider": "LOCAL", "destination_container": "out"},
            "files in LOCAL /openedx/data/out/ (TRANSFORM_LOGS_DESTINATION_PROVIDER is LOCAL)",
        ),
    ],
)
def test_a_line_says_where_statements_go_and_why(site: dict[str, Any], given: dict[str, Any], line: str) -> None:
    config = job_config.check(job_config.with_site_defaults(given, site))
    assert aspects.describe_destination(given, config, site) == f"Destination: {line}"


def test_caliper_is_refused_with_the_setting_and_what_is_allowed() -> None:
    values = job_config.with_site_defaults({"transformer_type": "caliper"}, VECTOR_SITE)
    with pytest.raises(job_config.SettingError) as raised:
        job_config.check(values)
    assert str(raised.value) == (
        "TRANSFORM_LOGS_TRANSFORMER_TYPE (--transformer-type): ClickHouse has a table for xAPI statements only; "
        "allowed: xapi; or set TRANSFORM_LOGS_DESTINATION_PROVIDER (--destination-provider) to LRS or to a provider of "
        "files"
    )


def check_server(site: dict[str, Any], given: dict[str, Any]) -> None:
    config = job_config.check(job_config.with_site_defaults(given, site))
    aspects.check_server(given, config, site)


@pytest.mark.parametrize("given", [{}, CHOSEN, {"clickhouse_table": "mine"}])
def test_tls_with_the_clickhouse_of_aspects_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TutorError) as raised:
        check_server(VECTOR_SITE | WITH_TLS | {"RUN_CLICKHOUSE": True}, given)
    assert str(raised.value) == (
        "CLICKHOUSE_SECURE_CONNECTION is true, but Aspects' own ClickHouse (RUN_CLICKHOUSE) has no TLS: "
        "https://clickhouse:8443 can't work. Set CLICKHOUSE_SECURE_CONNECTION to false; for a ClickHouse elsewhere set "
        "RUN_CLICKHOUSE to false and its CLICKHOUSE_HOST, or TRANSFORM_LOGS_CLICKHOUSE_URL."
    )


@pytest.mark.parametrize(
    ("changed", "given"),
    [
        ({"CLICKHOUSE_SECURE_CONNECTION": False}, {}),
        ({"RUN_CLICKHOUSE": False}, {}),
        ({"CLICKHOUSE_HOST": "ch.example.org"}, {}),
        ({"PLUGINS": []}, {}),
        ({}, {"clickhouse_url": "https://clickhouse:8443", "clickhouse_database": "openedx"}),
        ({}, {"destination_provider": "LRS"}),
    ],
)
def test_tls_with_any_other_server_is_not(changed: dict[str, Any], given: dict[str, Any]) -> None:
    check_server(VECTOR_SITE | WITH_TLS | {"RUN_CLICKHOUSE": True} | changed, given)

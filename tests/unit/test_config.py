"""The config file: every key has a default and a check, and no message repeats a secret."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_transform_logs.lms_job.config import settings
from tutor_transform_logs.lms_job.config.schema import ClickHouseConfig, JobConfig, StorageConfig, load, read
from tutor_transform_logs.lms_job.config.setting import TEXT
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.lms_job.config.validators import ConfigError, Endpoint
from tutor_transform_logs.lms_job.ledger.ledger import job_identity, job_key
from tutor_transform_logs.lms_job.read.filters import Filters
from tutor_transform_logs.lms_job.util.timetable import Timetable

# The defaults that the contract with the host promises, written down a second time on purpose.
DEFAULTS: dict[str, Any] = {
    "transformer_type": "xapi",
    "lrs_endpoints": (),
    "lrs_urls": (),
    "lrs_timeout_secs": 60.0,
    "lrs_max_wait_secs": 600.0,
    "batch_size": 1000,
    "batch_max_bytes": 8388608,
    "sleep_between_batches_secs": 0.0,
    "workers": 1,
    "max_requests_in_flight": 16,
    "max_events_per_second": 0.0,
    "dry_run": False,
    "strict": False,
    "log_statements": False,
    "log_format": "text",
    "quiet": False,
    "max_line_bytes": 16777216,
    "max_invalid_ratio": 0.5,
    "max_dead_letters": "",
    "segment_bytes": 268435456,
    "output_layout": "single",
    "output_compression": "none",
    "output_max_bytes": 34359738368,
    "caliper_stable_ids": True,
    "database_alias": "",
    "fast_path": True,
    "include_deleted_users": False,
    "since": None,
    "until": None,
    "event": (),
    "exclude_event": (),
    "course": (),
    "org": (),
    "files": (),
    "trust_file_dates": False,
    "limit": 0,
    "max_duration": 0.0,
    "verify_sample": 0,
    "notify": "",
    "metrics_file": "",
    "restart": False,
    "retry_failed": False,
    "repair": False,
}
RUN_KEYS = {setting.key for setting in settings.RUN_SETTINGS}
MINIO = {"provider": "MINIO", "key": "openedx", "secret": "the-secret", "host": "minio", "port": 9000, "secure": False}

# key -> values that can't be used, and a part of what is said to be allowed
BAD: dict[str, tuple[list[Any], str]] = {
    "transformer_type": (["XAPI", "tincan", 1, ["xapi"], True], "xapi or caliper"),
    "lrs_endpoints": (
        [1, "not json", {"url": "http://lrs"}, [{}], ["http://lrs"], [{"url": "lrs"}], [{"url": "http://l", "pw": 1}]],
        "",
    ),
    "lrs_urls": ([1, {"a": 1}, [1], "ftp://lrs", ["lrs.example.org"], ["http://u:p@lrs"], "[1"], "URL"),
    "lrs_timeout_secs": ([0, -1, "soon", True, [], float("nan"), float("inf")], "a number"),
    "lrs_max_wait_secs": ([-0.1, "x", True, {}], "a number, 0 or more"),
    "batch_size": ([0, -1, 1.5, "many", True, "1" * 30], "a whole number, at least 1"),
    "batch_max_bytes": ([1023, "x"], "a whole number, at least 1024"),
    "sleep_between_batches_secs": ([-1, "x", False], "a number, 0 or more"),
    "max_requests_in_flight": ([0, -1, 1.5, "many", True], "a whole number, at least 1"),
    "workers": ([0, -2, "all", 1.5, True], '"auto"'),
    "max_events_per_second": (
        [-1, "x", "off", "8:00,50", "08:00,50,22:00,off", "25:00,5", "08:00,50 08:00Z,9", "08:00,-1", ","],
        'a number, 0 or more, or a timetable such as "08:00,50 22:00,off"',
    ),
    "limit": ([-1, 1.5, "few", True], "a whole number, at least 0"),
    "max_duration": ([-1, "6 hours", "h", "1m6h", True, [], float("nan")], "a time such as 6h, 90m or 1h30m"),
    "dry_run": ([1, "yes", [], 0], "true or false"),
    "strict": (["no", 2], "true or false"),
    "log_statements": (["on"], "true or false"),
    "log_format": (["xml", 1], "text or json"),
    "quiet": (["yes please"], "true or false"),
    "max_line_bytes": ([0, 100, "1k"], "at least 1024"),
    "max_invalid_ratio": ([-1, 1.5, "half", True], "a number from 0 to 1"),
    "max_dead_letters": ([-1, 1.5, "many", "101%", "5 %"], "a whole number, or a percentage such as 5%"),
    "segment_bytes": ([1, 65535], "at least 65536"),
    "output_layout": (["one", 1], "single or batches"),
    "output_compression": (["gz", "zstd", True], "none or gzip"),
    "output_max_bytes": ([0, -5, "32G"], "at least 1"),
    "caliper_stable_ids": (["maybe"], "true or false"),
    "fast_path": (["maybe"], "true or false"),
    "include_deleted_users": (["maybe"], "true or false"),
    "since": (
        [
            "last week",
            "7 days",
            "99999d",
            "31.1.2026",
            "2026-02-30",
            "2026-01-31T25:00",
            "2026-01T10:00",
            1.5,
            True,
            [],
        ],
        "",
    ),
    "until": (["2026-13", "2026-01-31T10:00+25:00", "2026-01-31T10:61", "0001-01-01T00+01", {}], ""),
    "event": ([1, {"a": 1}, [1], [""], "[1]", [["a"]]], "a list of patterns"),
    "exclude_event": ([True, [None]], "a list of patterns"),
    "course": ([2, [{}]], "a list of patterns"),
    "org": ([[""]], "a list of patterns"),
    "files": ([[7]], "a list of patterns"),
    "trust_file_dates": (["maybe"], "true or false"),
    "database_alias": ([True, [], {}, 1.5], "text"),
    "restart": (["x"], "true or false"),
    "retry_failed": ([3], "true or false"),
    "repair": (["all"], "true or false"),
    "notify": ([True, [], "ftp://x/y", "http://", "https://h:x/"], ""),
    "metrics_file": ([True, "replay.prom", "/openedx/data/replay.txt", "/openedx/data/.prom", "/x/a.prom/"], ""),
    "verify_sample": ([-1, 0.5, "some", True], "a whole number, at least 0"),
    "clickhouse_url": ([1, True, "clickhouse:8123", "ftp://c", "http://u:p@c:8123", "http://c:8123/?user=u"], "a URL"),
    "clickhouse_username": ([True, []], "text"),
    "clickhouse_password": ([True, {}], "text"),
    "clickhouse_database": ([True, []], "text"),
    "clickhouse_table": ([True, []], "text"),
    "source_provider": ([True, [], {}], "text"),
    "source_key": ([True, [], "relative/path"], ""),
    "source_secret": ([True, ["x"], {"x": 1}, 1e5], "text"),
    "source_container": ([False, "a/b", "..", "."], ""),
    "source_prefix": ([True, "../x", "a/../../b", [], ["a", 1.5], ["a", "../x"], [["a"]], {"a": "b"}], ""),
    "source_host": ([["minio"]], "text"),
    "source_port": ([0, 65536, "http", 1.5, True], "at least 1 and at most 65535"),
    "source_secure": (["https", 1], "true or false"),
    "source_region": ([{}], "text"),
    "source_token": ([[]], "text"),
    "source_options": ([1, "x", "[1]", ["a"]], "a JSON object"),
}


def storage(role: str, **values: Any) -> dict[str, Any]:
    return {f"{role}_{name}": value for name, value in values.items()}


def loaded_or_refused(raw: dict[str, Any]) -> JobConfig | ConfigError:
    try:
        return load(raw)
    except ConfigError as error:
        return error


def test_an_empty_config_is_the_stock_site() -> None:
    made = load({})
    assert {name: getattr(made, name) for name in RUN_KEYS} == DEFAULTS
    assert (made.source.provider, made.source.root, made.source.prefix) == (
        "LOCAL",
        "/openedx/data/logs",
        "tracking.log",
    )
    assert made.destination is None
    assert (made.ledger.provider, made.ledger.root, made.ledger.prefix) == (
        "LOCAL",
        "/openedx/data/transform-logs",
        "",
    )


def test_the_typed_fields_are_the_tables_rows() -> None:
    """``JobConfig``, ``StorageConfig`` and ``Filters`` give the values types; the table says which there are."""
    assert {field.name for field in fields(JobConfig)} == RUN_KEYS | {*settings.ROLES, "clickhouse"}
    assert {field.name for field in fields(StorageConfig)} == {*settings.STORAGE_KEYS, "more_prefixes"}
    assert {field.name for field in fields(ClickHouseConfig)} == set(settings.CLICKHOUSE_KEYS)
    filters = {setting.key for setting in settings.RUN_SETTINGS if setting.group == "Filters"}
    assert {field.name for field in fields(Filters)} == filters - {"trust_file_dates"}


def test_null_is_the_default_of_every_key() -> None:
    assert load(dict.fromkeys(BY_KEY)) == load({})


def test_every_key_is_tested_here() -> None:
    assert set(DEFAULTS) == RUN_KEYS
    clickhouse = {f"clickhouse_{name}" for name in settings.CLICKHOUSE_KEYS}
    assert set(BAD) == RUN_KEYS | clickhouse | {f"source_{name}" for name in settings.STORAGE_KEYS}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, (values, _) in BAD.items() for value in values])
def test_a_bad_value_is_told_with_its_key_and_what_is_allowed(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        load({key: value})
    assert raised.value.key == key
    assert BAD[key][1] in raised.value.allowed
    assert raised.value.allowed
    assert str(raised.value).startswith(f"{key}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("batch_size", "250", 250),
        ("batch_size", 250.0, 250),
        ("batch_size", "", 1000),
        ("workers", "auto", "auto"),
        ("workers", "4", 4),
        ("sleep_between_batches_secs", "2.5", 2.5),
        ("dry_run", "True", True),
        ("strict", "false", False),
        ("lrs_urls", "http://a http://b", ("http://a", "http://b")),
        ("lrs_urls", '["http://a"]', ("http://a",)),
        ("lrs_urls", "", ()),
        ("since", "2026-01-31", datetime(2026, 1, 31, tzinfo=timezone.utc)),
        ("until", "2026-01-31", datetime(2026, 2, 1, tzinfo=timezone.utc)),
        ("until", "2026-01-31T00:00", datetime(2026, 1, 31, tzinfo=timezone.utc)),
        ("since", 2026, datetime(2026, 1, 1, tzinfo=timezone.utc)),
        ("since", "", None),
        ("max_duration", "6h", 21600.0),
        ("max_duration", " 1H30M", 5400.0),
        ("max_duration", "1d1s", 86401.0),
        ("max_duration", "90", 90.0),
        ("max_duration", 0.5, 0.5),
        ("max_events_per_second", "50", 50.0),
        ("max_events_per_second", "22:00,off 08:00,50", Timetable(((28800, 50.0), (79200, 0.0)))),
        ("max_events_per_second", "08:00+02:00,2.5", Timetable(((21600, 2.5),))),
        ("event", "edx.video.* play_video", ("edx.video.*", "play_video")),
        ("event", '["a b", "[ab]*"]', ("a b", "[ab]*")),
        ("files", ["my logs/*"], ("my logs/*",)),
        ("course", "", ()),
        ("lrs_endpoints", "", ()),
        ("lrs_endpoints", '[{"url": "http://a", "bearer": "t"}]', (Endpoint("http://a", bearer="t"),)),
        (
            "lrs_endpoints",
            [{"url": "https://a/xAPI", "username": "u", "password": "p"}, {"url": "http://b", "bearer": None}],
            (Endpoint("https://a/xAPI", "u", "p"), Endpoint("http://b")),
        ),
    ],
)
def test_values_as_command_lines_and_yaml_give_them(key: str, value: Any, meant: Any) -> None:
    assert getattr(load({key: value}), key) == meant


def test_storage_values_are_read_leniently() -> None:
    source = load(
        storage("source", provider=" minio ", container="logs", prefix="/tracking", port="9000", secure="false")
        | storage("source", options='{"a": 1}', key=123)
    ).source
    assert (source.provider, source.prefix, source.port, source.secure) == ("MINIO", "tracking", 9000, False)
    assert (source.options, source.key) == ({"a": 1}, "123")


@pytest.mark.parametrize(
    ("since", "until"),
    [("2026-02-01", "2026-01-31"), ("2026-01-31T10:00", "2026-01-31T10:00Z"), ("2026-01-31T10:00", "2026-01-31T11+02")],
)
def test_until_is_after_since(since: str, until: str) -> None:
    with pytest.raises(ConfigError, match=r"^until: .*Z is not after since \(.*Z\); allowed: a time after since"):
        load({"since": since, "until": until})
    assert load({"since": "2026-01-31", "until": "2026-01-31"}).until == datetime(2026, 2, 1, tzinfo=timezone.utc)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^batchsize: there is no such key"):
        load({"batchsize": 1})


@pytest.mark.parametrize("provider", ["MINIO", "S3", "GOOGLE_STORAGE"])
@pytest.mark.parametrize("role", settings.ROLES)
def test_an_object_store_needs_a_container(role: str, provider: str) -> None:
    with pytest.raises(ConfigError, match=f"^{role}_container: not set, and {provider} needs one"):
        load({f"{role}_provider": provider})


def test_a_local_destination_needs_a_container() -> None:
    with pytest.raises(ConfigError, match=r"^destination_container: not set"):
        load({"destination_provider": "LOCAL"})


@pytest.mark.parametrize("role", ["source", "ledger"])
def test_an_lrs_is_a_destination_only(role: str) -> None:
    with pytest.raises(ConfigError, match=f'^{role}_provider: "LRS" is a destination only'):
        load({f"{role}_provider": "lrs"})


def test_a_table_is_a_source_and_a_destination() -> None:
    with pytest.raises(ConfigError, match=r'^ledger_provider: "CLICKHOUSE" can.t hold a ledger'):
        load({"ledger_provider": "clickhouse"})
    table = {"source_provider": "clickhouse", "source_host": "c", "source_container": "d", "source_prefix": "/t/2026"}
    made = load(table).source
    assert (made.provider, made.prefix, made.needs_libcloud) == ("CLICKHOUSE", "t/2026", False)


CLICKHOUSE = {"destination_provider": "clickhouse", "clickhouse_url": "http://c:8123", "clickhouse_database": "openedx"}


def test_clickhouse_is_a_destination_with_large_batches() -> None:
    made = load({**CLICKHOUSE, "clickhouse_username": "u", "clickhouse_password": "p"})
    assert made.destination is None
    assert made.clickhouse == ClickHouseConfig("http://c:8123", "u", "p", "openedx", "xapi_events_all")
    assert (made.batch_size, made.batch_max_bytes) == (10_000, 32 * 1024**2)
    assert load({**CLICKHOUSE, "batch_size": 50}).batch_size == 50


@pytest.mark.parametrize("token", ["t\n", "a\nb", "€", "\x00", "\ud800"])
def test_a_token_that_no_header_can_hold_is_refused(token: str) -> None:
    for raw in ({"source_token": token}, {"lrs_endpoints": [{"url": "http://a", "bearer": token}]}):
        with pytest.raises(ConfigError, match="a character that HTTP headers can't have"):
            load(raw)


@pytest.mark.parametrize("role", settings.ROLES)
def test_an_access_key_is_one_line(role: str) -> None:
    """The secret need not be: it can be a private key (PEM)."""
    with pytest.raises(ConfigError, match="a line break or another control character"):
        load({f"{role}_key": "AKIA\n"})
    load({f"{role}_secret": "-----BEGIN PRIVATE KEY-----\nx\n"})


def test_clickhouse_without_a_url_is_that_of_the_lms() -> None:
    made = load({"destination_provider": "CLICKHOUSE"})
    assert made.clickhouse == ClickHouseConfig("", "", "", "", "xapi_events_all")
    # Another destination needs no ClickHouse, whatever is left in the settings.
    assert load({"clickhouse_username": "u"}).clickhouse is None


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"transformer_type": "caliper"}, "transformer_type"),
        ({"clickhouse_database": ""}, "clickhouse_database"),
        ({"clickhouse_url": ""}, "clickhouse_url"),
        ({"clickhouse_url": None, "clickhouse_database": "", "clickhouse_password": "p"}, "clickhouse_url"),
    ],
)
def test_what_clickhouse_can_not_do_is_refused(more: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load({**CLICKHOUSE, **more})
    assert raised.value.key == key


def test_an_endpoint_has_one_way_in() -> None:
    with pytest.raises(ConfigError, match="both a bearer token and"):
        load({"lrs_endpoints": [{"url": "http://a", "bearer": "t", "username": "u"}]})


@pytest.mark.parametrize("second", [{}, {"url": "http://a/"}, {"password": "other"}, {"username": "", "bearer": "t"}])
def test_an_endpoint_is_named_once(second: dict[str, str]) -> None:
    """Two with one URL and user would be one destination in the ledger."""
    first = {"url": "http://a", "username": "" if "bearer" in second else "u"}
    user = "no user name" if "bearer" in second else 'the user name "u"'
    with pytest.raises(ConfigError, match=f"the entries 1 and 2 have the same URL and {user}, so"):
        load({"lrs_endpoints": [first, {**first, **second}]})
    assert len(load({"lrs_endpoints": [first, {"url": "http://a", "username": "v"}]}).lrs_endpoints) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "1", "NaN"])
def test_a_file_that_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="one JSON object"):
        read(text)


def test_a_deeply_nested_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="one JSON object"):
        read("[" * 200_000)


@pytest.mark.parametrize("value", ["logs\0", "\ud800"])
@pytest.mark.parametrize("key", [key for key, setting in BY_KEY.items() if setting.kind == TEXT])
def test_what_is_not_text_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError):
        load({key: value, "clickhouse_database": "xapi"} if key == "clickhouse_url" else {key: value})


SECRET = "SENTINEL-7f3a"
SECRET_KEYS = [
    *(f"{role}_{name}" for role in settings.ROLES for name in ("key", "secret", "token", "options")),
    "lrs_endpoints",
    "clickhouse_password",
]
BY_STORAGE = [key for key in SECRET_KEYS if key.split("_")[0] in settings.ROLES]
SHAPES: list[Any] = [
    SECRET,
    f"{SECRET}\n",
    f"{SECRET}\ud800",
    [{"url": "http://lrs", "password": f"{SECRET}\r"}],
    [{"url": "http://lrs", "bearer": f"{SECRET} "}],
    [SECRET],
    {SECRET: 1, "url": 1},
    {"url": SECRET},
    [{"password": SECRET}],
    [{"url": f"http://user:{SECRET}@lrs"}],
    [{"url": f"ftp://user:{SECRET}@lrs"}],
    [{"url": f"//user:{SECRET}@["}],
    [{"url": "http://lrs", "password": [SECRET]}],
    [{"url": "http://lrs", "password": SECRET, "bearer": SECRET}],
    f'{{"{SECRET}',
    f'[{{"url": "http://lrs", "password": "{SECRET}"',
    [[SECRET]],
    f"{SECRET}\n",
    [{"url": "http://lrs", "bearer": f"{SECRET}\n"}],
    [{"url": "http://lrs", "bearer": f"{SECRET}€"}],
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape)[:40])
@pytest.mark.parametrize("key", SECRET_KEYS)
def test_no_message_repeats_a_secret(key: str, shape: Any) -> None:
    raws: list[dict[str, Any]] = [{key: shape}]
    raws.append({key: shape, "batch_size": 0})
    raws.append({key: shape, f"{key.split('_')[0]}_provider": "S3"} if key in BY_STORAGE else {})
    for raw in raws:
        # The whole config may end in a traceback or a log.
        made = loaded_or_refused(raw)
        assert SECRET not in f"{made} {made!r}"


def test_neither_identity_nor_description_of_a_store_holds_its_credentials() -> None:
    values = {**MINIO, "key": SECRET, "secret": SECRET, "token": SECRET, "container": "c", "options": {"x": SECRET}}
    source = load(storage("source", **values)).source
    assert SECRET not in f"{source} {source!r} {json.dumps(source.identity())}"


OK_DOCUMENT: dict[str, dict[str, Any]] = {
    "recursive": storage("source", key="/openedx/data", container="logs", prefix=""),
    "begins with tracking": storage("source", key="/openedx/data", container="logs", prefix="tracking"),
    "one file": storage("source", key="/openedx/data", container="logs", prefix="tracking.log"),
    "local to LRS": {
        **storage("source", provider="LOCAL", key="/openedx/data/", prefix="tracking.log", container="logs"),
        "destination_provider": "LRS",
        "transformer_type": "xapi",
    },
    "local to LRS, slowly": {
        **storage("source", provider="LOCAL", key="/openedx/data/", prefix="tracking.log", container="logs"),
        "destination_provider": "LRS",
        "transformer_type": "caliper",
        "batch_size": 1000,
        "sleep_between_batches_secs": 2.5,
    },
    "MINIO to LRS": {**storage("source", **MINIO, container="openedx", prefix="tracking"), "transformer_type": "xapi"},
    "S3 to LRS": storage("source", **{**MINIO, "provider": "S3"}, container="openedx", prefix="tracking"),
    "local to local": {
        **storage("source", provider="LOCAL", key="/openedx/data/", container="logs", prefix="tracking.log"),
        **storage("destination", provider="LOCAL", key="/openedx/data/", container="transformed_logs"),
        "destination_prefix": "2023-06-01",
        "transformer_type": "caliper",
    },
    "local to a directory below the source's": {
        **storage("source", provider="LOCAL", key="/openedx/data/", container="logs", prefix="tracking.log"),
        **storage("destination", provider="LOCAL", key="/openedx/data/", container="logs", prefix="transformed_events"),
    },
    "MINIO to MINIO": {
        **storage("source", **MINIO, container="openedx", prefix="/tracking_logs"),
        **storage("destination", **MINIO, container="openedx", prefix="transformed_logs/2023-06-02/"),
        "transformer_type": "xapi",
    },
}


@pytest.mark.parametrize("example", OK_DOCUMENT)
def test_the_documents_own_examples_are_taken(example: str) -> None:
    made = load(OK_DOCUMENT[example])
    assert not made.source.prefix.startswith("/")


LOCAL_SOURCE = storage("source", provider="LOCAL", key="/d", container="logs", prefix="tracking")


@pytest.mark.parametrize(
    "raw",
    [
        storage("source", key="/d", container="logs", prefix="") | storage("ledger", key="/d", container="logs"),
        storage("source", key="/d/", container="logs", prefix="")
        | storage("destination", provider="LOCAL", key="/d", container="logs", prefix="out"),
        storage("source", key="/d/x/..", container="logs", prefix="")
        | storage("destination", provider="LOCAL", key="/d//.", container="logs", prefix="out"),
        LOCAL_SOURCE | storage("destination", provider="LOCAL", key="/d", container="logs", prefix="tracking"),
        {**LOCAL_SOURCE, "source_prefix": ["a", "tracking"]}
        | storage("destination", provider="LOCAL", key="/d", container="logs", prefix="tracking"),
        LOCAL_SOURCE | storage("destination", provider="LOCAL", key="/d", container="logs", prefix="/tracking-out/x"),
        LOCAL_SOURCE | storage("destination", provider="LOCAL", key="/d/logs", container="tracking", prefix="x"),
        storage("source", **MINIO, container="c", prefix="")
        | storage("destination", **MINIO, container="c", prefix="out"),
        storage("source", **MINIO, container="c", prefix="logs/")
        | storage("destination", **MINIO, container="c", prefix="/logs/out/"),
        storage("source", **MINIO, container="c", prefix=["a/", "logs/"])
        | storage("destination", **MINIO, container="c", prefix="/logs/out/"),
        storage("source", **MINIO, container="c", prefix="a") | storage("ledger", **MINIO, container="c", prefix="a/b"),
    ],
)
def test_a_destination_in_the_source_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is in the source") as raised:
        load(raw)
    assert "the-secret" not in str(raised.value)


@pytest.mark.parametrize(
    "raw",
    [
        LOCAL_SOURCE | storage("destination", provider="LOCAL", key="/d", container="logs", prefix="out"),
        LOCAL_SOURCE | storage("destination", provider="LOCAL", key="/d", container="logs2", prefix="tracking"),
        storage("source", key="/d", container="logs", prefix="")
        | storage("destination", provider="LOCAL", key="/d", container="logs2"),
        storage("source", **MINIO, container="c", prefix="logs/")
        | storage("destination", **MINIO, container="c", prefix="logs-out"),
        storage("source", **MINIO, container="c") | storage("destination", **MINIO, container="d"),
        storage("source", **MINIO, container="c") | storage("destination", **{**MINIO, "host": "x"}, container="c"),
        storage("source", **MINIO, container="logs", prefix="")
        | storage("destination", provider="LOCAL", key="/d", container="logs"),
    ],
)
def test_other_places_are_taken(raw: dict[str, Any]) -> None:
    load(raw)


@pytest.mark.parametrize(
    ("given", "prefixes"),
    [
        ("logs/", ("logs/",)),
        (["/logs/"], ("logs/",)),
        (["b/", "a/", "/b/"], ("a/", "b/")),
        (["b", "a", "ab/c", "a-"], ("a", "b")),
        (["b", ""], ("",)),
        (("[x]", "y"), ("[x]", "y")),
    ],
)
def test_prefixes_are_sorted_and_none_begins_with_another(given: Any, prefixes: tuple[str, ...]) -> None:
    for where in ({"provider": "LOCAL"}, {**MINIO, "container": "c"}):
        assert load(storage("source", **where, prefix=given)).source.prefixes == prefixes


def test_a_list_of_one_prefix_is_the_job_of_the_text_and_of_several_another() -> None:
    def key(prefix: Any) -> str:
        return job_key(job_identity(load({"source_prefix": prefix})))

    # As it was before there could be several: a ledger must be found again.
    assert key("tracking.log") == key(["/tracking.log"]) == key(["tracking.log", "tracking.log-2026"]) == "d5073dac69cb"
    assert key(["a", "b"]) == key(["b", "a", "ab"])
    assert len({key("a"), key("b"), key("a, b"), key(["a", "b"]), key(["a", "b", "c"])}) == 5
    assert str(load({"source_prefix": ["b", "a"]}).source) == "LOCAL /openedx/data/logs/a, /openedx/data/logs/b"


def test_several_tables_are_refused() -> None:
    table = {"source_provider": "CLICKHOUSE", "source_host": "c", "source_container": "d"}
    assert load({**table, "source_prefix": ["t/2026-02", "t/2026-01"]}).source.prefixes == ("t/2026-01", "t/2026-02")
    with pytest.raises(ConfigError, match="are several tables"):
        load({**table, "source_prefix": ["t", "t2"]})


PREFIXES = st.lists(st.sampled_from(["a", "ab", "/", "-", ".log", "tracking"]), max_size=6).map("".join)


@given(PREFIXES, PREFIXES, st.booleans())
def test_nothing_that_is_written_is_listed_as_source(written: str, read_: str, local: bool) -> None:
    """Whatever the two prefixes are: refused, or no name below the one begins with the other."""
    where: dict[str, Any] = (
        {"provider": "LOCAL", "key": "/d", "container": "c"} if local else {**MINIO, "container": "c"}
    )
    raw = storage("source", **where, prefix=read_) | storage("destination", **where, prefix=written)
    made = loaded_or_refused(raw)
    if isinstance(made, ConfigError):
        return
    assert made.destination is not None
    below = made.destination.prefix.strip("/")
    for name in ("26-01-02_03-04-05_xapi.log", ".parts-0a1b2c3d4e5f/x", "manifest.log", "x/y"):
        full = f"{below}/{name}" if below else name
        if made.source.prefix.startswith(full) or not full.startswith(made.source.prefix):
            continue
        pytest.fail(f"{full} is written, and read by the prefix {made.source.prefix!r}")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
WORDS = st.sampled_from(["LOCAL", "S3", "MINIO", "LRS", "xapi", "single", "/d", "http://h", "[", "{}", "[1]", ".."])
VALUES = SCALARS | WORDS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from(["url", "a"]), SCALARS)


@given(st.dictionaries(st.sampled_from(list(BY_KEY)), VALUES, max_size=8))
def test_any_config_is_taken_or_refused_in_one_line(raw: dict[str, Any]) -> None:
    made = loaded_or_refused(raw)
    if isinstance(made, ConfigError):
        assert made.key in BY_KEY
        assert "\n" not in str(made)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/xAPI?token=hidden",
        "https://h:9x/?hidden",
        "https://h]/#hidden",
        "https://u:hidden@h:9x/",
        "hidden@h",
        "h/xAPI?hidden",
    ],
)
def test_of_what_is_not_a_url_neither_query_nor_password_is_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"the URL can't be read|is not a URL") as raised:
        load({"lrs_urls": [url]})
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("host", ["u:hidden@h", "http://u:hidden@h", "http://h/hidden", "h?hidden", "h hidden"])
def test_what_is_not_a_host_is_refused_and_not_shown(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^source_host: the value is not a host; allowed: ") as raised:
        load({"source_provider": "S3", "source_host": host})
    assert "hidden" not in str(raised.value)

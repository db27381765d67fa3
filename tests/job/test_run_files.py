"""Whole runs of the job to files and to loggers."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.runs import assert_accounted, assert_refused, erbs_ids, statements
from tests.harness.site import SINGLE_NAME, manifests, statement_files
from tutor_transform_logs.demo import samples
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, Mix, write_log

pytestmark = pytest.mark.usefixtures("lms")

NEEDED_IN_XAPI = {"id", "actor", "verb", "object", "timestamp", "version"}
SMALL = Mix(good=40, page_view=30, unknown_user=2, type_error=3, broken=4, blank=1)


def single_files(output: dict[str, bytes]) -> list[str]:
    """The names of a single-layout output; asserts that nothing else is there but the list of sources."""
    names = sorted(statement_files(output))
    assert manifests(output)
    assert all(SINGLE_NAME.fullmatch(name) for name in names)
    return names


def test_local_to_local_with_all_that_the_samples_have(site: ForkedSite) -> None:
    samples.write(site.logs)
    (site.logs / "other.log").write_bytes(b"not of this job\n")
    run = site.run(site.source(), site.to_files("2026/xapi"))
    result = assert_accounted(run, samples.expected("xapi"))
    output = site.output("2026/xapi")
    [name] = single_files(output)
    assert result["outputs"] == [str(site.out / "2026/xapi" / name)]
    written = statements(output[name])
    assert len(written) == samples.expected("xapi").statements
    assert all(statement.keys() >= NEEDED_IN_XAPI and "event_source" not in statement for statement in written)
    assert len({statement["id"] for statement in written}) == samples.expected("xapi").distinct_statements
    sizes = {path.name: path.stat().st_size for path in site.logs.iterdir()}
    assert manifests(output)[0].decode().splitlines() == [
        f"{log} - {sizes[log]} bytes" for log in sorted(samples.FILES)
    ]
    assert {obj["name"]: obj["lines"] for obj in result["objects"]} == {
        log: len(lines()) for log, lines in samples.FILES.items()
    }
    # Each dead letter says where its line is.
    for letter in run.dead_letters():
        line = samples.FILES[letter["object"]]()[letter["line_number"] - 1].data
        raw = letter["line"].encode() if "line" in letter else base64.b64decode(letter["line_base64"])
        assert raw == line
        assert samples.content(letter["object"])[letter["offset"] :].startswith(line)

    before = site.output()
    again = site.run(site.source(), site.to_files("2026/xapi"))
    assert (again.status, site.output()) == (0, before)
    assert again.stdout.startswith("Nothing new")


def test_caliper_to_gzipped_batches(site: ForkedSite) -> None:
    log = site.log(SMALL, names=CALIPER_GOOD_NAMES)
    config: dict[str, Any] = {"transformer_type": "caliper", "output_layout": "batches", "output_compression": "gzip"}
    run = site.run(site.source(), site.to_files("c"), config, batch_size=10)
    result = assert_accounted(run, log.caliper)
    # Caliper is off in ERB's own defaults.
    assert "CALIPER_EVENTS_ENABLED is off in the LMS settings: turned on for this job." in run.stderr
    output = site.output("c")
    assert manifests(output)
    output = statement_files(output)
    # 45 events that ERB is asked for, in batches of 10.
    assert len(output) == 5
    batch = re.compile(f"{result['job_key']}-0001-[0-9a-f]{{8}}-000001-\\d{{6}}\\.log\\.gz")
    assert all(batch.fullmatch(name) for name in output)
    envelopes = [envelope for name in sorted(output) for envelope in statements(output[name])]
    assert len(envelopes) == log.caliper.statements
    assert {len(envelope["data"]) for envelope in envelopes} == {1}
    assert len({envelope["data"][0]["id"] for envelope in envelopes}) == log.caliper.distinct_statements
    assert all(envelope["data"][0]["@context"] for envelope in envelopes)


def test_a_single_gzipped_output_rolls_at_its_limit(site: ForkedSite) -> None:
    log = site.log(SMALL)
    config = {"output_compression": "gzip", "output_max_bytes": 3000, "batch_size": 5}
    run = site.run(site.source(), site.to_files(), config, strict=True)
    result = assert_accounted(run, log.xapi, status=3)
    output = site.output()
    names = single_files(output)
    assert len(names) > 2
    assert all(name.endswith(".log.gz") for name in names)
    assert all(len(output[name]) <= 3000 for name in names)
    # In the order of the log.
    in_order = [Path(path).name for path in result["outputs"]]
    assert sorted(in_order) == names
    ids = [statement["id"] for name in in_order for statement in statements(output[name])]
    assert len(ids) == len(set(ids)) == log.xapi.statements
    assert set(ids) == erbs_ids(log.path.read_bytes().splitlines())
    assert result["reasons"] == {"erb_error": 3, "unknown_user": 2, "no_json": 4}


def test_two_outputs_in_one_second_have_two_names(site: ForkedSite) -> None:
    """As two jobs, so that neither waits for the other."""
    site.log(Mix(good=3), name="tracking.log")
    site.log(Mix(good=3), name="tracking.log.1", seed=1)
    runs = [site.run(site.source(name), site.to_files()) for name in ("tracking.log", "tracking.log.1")]
    assert [run.status for run in runs] == [0, 0]
    output = site.output()
    names = single_files(output)
    assert len(names) == 2
    assert sorted(manifest.count(b"\n") for manifest in manifests(output)) == [1, 2]


@pytest.mark.parametrize("kind", ["xapi", "caliper"])
def test_a_dry_run_to_the_logger_logs_every_statement_and_writes_nothing(site: ForkedSite, kind: str) -> None:
    log = site.log(SMALL, names=CALIPER_GOOD_NAMES)
    # ERB's toggles for the loggers are off: the user asked to see the statements.
    lms = site.lms.with_settings(XAPI_EVENT_LOGGING_ENABLED=False, CALIPER_EVENT_LOGGING_ENABLED=False)
    files, options = site.to_files("x"), {"dry_run": True, "log_statements": True}
    run = site.run(site.source(), files, options, transformer_type=kind, lms=lms)
    assert_accounted(run, log.expected("xapi" if kind == "xapi" else "caliper"))
    logged = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
    assert len(logged) == (log.xapi if kind == "xapi" else log.caliper).statements
    if kind == "xapi":
        assert {statement["id"] for statement in logged} == erbs_ids(log.path.read_bytes().splitlines())
    else:
        assert all(event["@context"] and event["id"].startswith("urn:uuid:") for event in logged)
    assert "Dry run" in run.stdout
    assert site.output() == {}


@pytest.mark.parametrize("kind", ["xapi", "caliper"])
def test_a_dry_run_prints_a_sample_and_writes_nothing(site: ForkedSite, kind: str) -> None:
    log = site.log(SMALL, names=CALIPER_GOOD_NAMES)
    run = site.run(site.source(), site.to_files("x"), dry_run=True, transformer_type=kind)
    assert_accounted(run, log.expected("xapi" if kind == "xapi" else "caliper"))
    sample, separator, table = run.stdout.partition("\n\nobject ")
    assert separator
    title, *lines = sample.splitlines()
    assert title == "Sample of the statements:"
    # Up to three types of events, each with the first statement that it makes.
    names, shown = [line.strip() for line in lines[::2]], [json.loads(line) for line in lines[1::2]]
    assert set(names) <= set(CALIPER_GOOD_NAMES)
    assert len(names) == len(set(names)) == len(shown) == 3
    if kind == "xapi":
        assert {statement["id"] for statement in shown} <= erbs_ids(log.path.read_bytes().splitlines())
    made = run.result["destinations"][0]["made"]  # type: ignore[index]  # a run has a result
    assert f"statements to no destination (dry run)\n  made            {made:>11,}\n\n" in table
    assert "stored" not in run.detail
    assert run.stdout.endswith("Dry run. Nothing was delivered.\n")
    assert '{"' not in run.stderr
    assert site.output() == {}


def test_settings_without_erbs_backend_use_the_recommended_one(site: ForkedSite) -> None:
    log = site.log(SMALL)
    backends = {"logger": {"ENGINE": "eventtracking.backends.logger.LoggerBackend", "OPTIONS": {"name": "tracking"}}}
    lms = site.lms.with_settings(EVENT_TRACKING_BACKENDS=backends, XAPI_EVENTS_ENABLED=False)
    run = site.run(site.source(), site.to_files(), lms=lms)
    assert_accounted(run, log.xapi)
    assert "EVENT_TRACKING_BACKENDS has no event_transformer backend" in run.stderr
    assert "XAPI_EVENTS_ENABLED is off in the LMS settings: turned on for this job." in run.stderr
    [name] = single_files(site.output())
    assert {statement["id"] for statement in statements(site.output()[name])} == erbs_ids(
        log.path.read_bytes().splitlines()
    )


def test_odd_things_in_the_source_do_no_harm(site: ForkedSite, tmp_path: Path) -> None:
    log = site.log(Mix(good=6))
    line = log.path.read_bytes().splitlines(keepends=True)
    secret = tmp_path / "secret.log"
    secret.write_bytes(line[0].replace(b"10.0.0.1", b"10.9.9.9"))
    odd = os.fsdecode(b"tracking.log-\xff\xfe\n{}%s.log")
    (site.logs / odd).write_bytes(line[0].replace(b"10.0.0.1", b"10.8.8.8"))
    (site.logs / "tracking.log.dangling").symlink_to(site.logs / "nowhere")
    (site.logs / "tracking.log.outside").symlink_to(secret)
    (site.logs / "tracking.log.link").symlink_to(log.path)
    (site.logs / "tracking.log.loop").symlink_to(site.logs / "tracking.log.loop")
    (site.logs / "tracking.log.empty").touch()
    os.mkfifo(site.logs / "tracking.log.fifo")
    below = site.logs / "tracking.log.d"
    (below / "deep").mkdir(parents=True)
    (below / "deep" / "any name").write_bytes(gzip.compress(line[1].replace(b"10.0.0.1", b"10.7.7.7")))
    (site.logs / "tracking.log.up").symlink_to(tmp_path)
    run = site.run(site.source(), site.to_files())
    assert run.status == 0, run.stdout + run.stderr
    assert run.result is not None
    assert {obj["name"] for obj in run.result["objects"]} == {
        "tracking.log",
        odd,
        "tracking.log.empty",
        "tracking.log.d/deep/any name",
    }
    assert run.result["lines"]["lines"] == 8
    assert run.result["lines"]["transformed"] == 8
    assert "10.9.9.9" not in run.stdout + run.stderr
    # One to a file, and one to a folder.
    assert f"2 links lead out of {site.logs}, such as tracking.log." in " ".join(run.stderr.split())
    assert run.stderr.count(" out of ") == 1
    [manifest] = manifests(site.output())
    assert manifest.count(b"\n") == 4
    assert b"tracking.log-\xff\xfe\\n{}%s.log - " in manifest
    assert not any(name.startswith("Traceback") for name in run.stderr.splitlines())


def test_the_manifest_names_every_source_on_one_line(site: ForkedSite) -> None:
    odd = ["a\rb", "a\vb", "a\x85b", "a\u2028b", "a\nb", "a\\nb", "\x1b[31mred", "a\udcffb", "plain - 1 bytes"]
    names = [f"tracking.log-{name}" for name in odd]
    for number, name in enumerate(names):
        write_log(site.logs / name, Mix(good=2), seed=number)
    assert site.run(site.source(), site.to_files()).status == 0
    write_log(site.logs / "tracking.log", Mix(good=2), seed=99)
    assert site.run(site.source(), site.to_files()).status == 0
    first, second = sorted(manifests(site.output()), key=len)
    assert second.count(b"\n") == len(names) + 1
    whole = second
    assert set(first.splitlines()) < set(whole.splitlines())
    assert b"\x1b" not in whole

    def read_back(line: bytes) -> str:
        name = line.decode("utf-8", "surrogateescape").rpartition(" - ")[0]
        return name.encode("latin-1", "backslashreplace").decode("unicode_escape")

    assert sorted(map(read_back, whole.split(b"\n")[:-1])) == sorted([*names, "tracking.log"])


def test_a_prefix_that_is_a_link_out_of_the_root_finds_nothing(site: ForkedSite, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "tracking.log").write_bytes(b"{}\n")
    (site.logs / "link").symlink_to(tmp_path / "elsewhere")
    run = site.run(site.source("link/tracking"), site.to_files())
    assert_refused(run, "No object found whose name begins with")


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"source_container": "nowhere"}, ["nowhere can't be used", "must exist"]),
        ({"destination_container": "nowhere"}, ["nowhere can't be used", "must exist"]),
        ({"source_prefix": "no-such"}, ["No object found", "no-such", "SOURCE_PREFIX"]),
        ({"destination_provider": "LRS"}, ["no enabled router for xapi", "TRANSFORM_LOGS_LRS_ENDPOINTS"]),
        ({"batch_size": 0}, ["Config: batch_size: 0 can't be used; allowed: a whole number, at least 1."]),
        ({"destination_container": "logs", "destination_prefix": "tracking.log.d"}, ["Config: destination_prefix"]),
        ({"source_provider": "NOSUCH", "source_secret": "hush-hush"}, ["NOSUCH", "libcloud"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_missing_is_said_in_one_line_before_anything_is_done(
    site: ForkedSite, change: dict[str, Any], detail: list[str]
) -> None:
    site.log(Mix(good=2))
    run = site.run(site.source(), site.to_files(), change)
    assert_refused(run, *detail, secrets=["hush-hush"])
    assert site.output() == {}
    assert not list(site.folder.glob("ledger/**/plan.json"))

"""Whole runs of the job from and to real object stores."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun
from tests.harness.object_store import SECRET_KEY, Bucket
from tests.harness.ralph import Lrs
from tests.harness.runs import assert_accounted, assert_refused, erbs_ids, statements
from tests.harness.site import SINGLE_NAME, is_manifest, manifests, statement_files
from tutor_transform_logs.demo.log_writer import BigLog, Mix
from tutor_transform_logs.lms_job.model.plan import TAIL_BYTES
from tutor_transform_logs.lms_job.storage.cloud_http import STREAM_PIECE
from tutor_transform_logs.lms_job.storage.cloud_source import FIRST_BYTES_KEPT

pytestmark = pytest.mark.usefixtures("lms")

MIX = Mix(good=40, page_view=30, unknown_user=2, type_error=2, broken=3)


def upload(site: ForkedSite, bucket: Bucket, key: str, mix: Mix = MIX, **more: Any) -> BigLog:
    log = site.log(mix, name=f"upload{''.join(key.rpartition('.')[1:]) if key.endswith('.gz') else ''}", **more)
    bucket.put(key, log.path)
    return log


def assert_no_secret(run: JobRun, site: ForkedSite) -> None:
    """Neither in what the run said nor in what it keeps."""
    kept = b"".join(path.read_bytes() for path in site.folder.glob("ledger/**/*") if path.is_file())
    for text in (run.stdout, run.stderr, json.dumps(run.result), kept.decode()):
        assert SECRET_KEY not in text


def test_minio_to_lrs(site: ForkedSite, nanio_bucket: Bucket, lrs: Lrs) -> None:
    log = upload(site, nanio_bucket, "logs/tracking.log")
    nanio_bucket.put("other/tracking.log", b"not of this job\n")
    run = site.run(nanio_bucket.settings("source", prefix="/logs/tracking"), lrs_endpoints=[lrs.endpoint])
    result = assert_accounted(run, log.xapi)
    assert [obj["name"] for obj in result["objects"]] == ["logs/tracking.log"]
    assert set(lrs.ids()) == erbs_ids(log.path.read_bytes().splitlines())
    assert_no_secret(run, site)
    again = site.run(nanio_bucket.settings("source", prefix="/logs/tracking"), lrs_endpoints=[lrs.endpoint])
    assert again.stdout.startswith("Nothing new")


def test_minio_to_minio_with_the_ledger_there_too(site: ForkedSite, nanio_bucket: Bucket) -> None:
    """The document's own example: source and destination are prefixes of one bucket."""
    one = upload(site, nanio_bucket, "tracking_logs/tracking.log-1.gz")
    other = upload(site, nanio_bucket, "tracking_logs/a b/träcking+log", seed=1)
    config = {
        **nanio_bucket.settings("source", prefix="/tracking_logs"),
        **nanio_bucket.settings("destination", prefix="transformed_logs/2023-06-02/"),
        **nanio_bucket.settings("ledger", prefix="ledger"),
        "batch_size": 15,
    }
    run = site.run(config)
    assert run.status == 0, run.stdout + run.stderr
    keys = nanio_bucket.keys("transformed_logs/2023-06-02/")
    [name] = [key for key in keys if not is_manifest(key)]
    assert SINGLE_NAME.fullmatch(name.rpartition("/")[2])
    manifest = name.replace(".log", "_manifest.log")
    assert sorted(keys) == sorted([name, manifest])
    written = statements(nanio_bucket.get(name))
    lines = [*one.path.read_bytes().splitlines(), *other.path.read_bytes().splitlines()]
    expected = one.xapi + other.xapi
    assert len(written) == expected.statements
    assert {statement["id"] for statement in written} >= erbs_ids(lines)
    listed = [line.rpartition(" - ")[0] for line in nanio_bucket.get(manifest).decode().splitlines()]
    assert listed == ["tracking_logs/a b/träcking+log", "tracking_logs/tracking.log-1.gz"]
    ledger = nanio_bucket.keys("ledger/")
    [result] = [json.loads(nanio_bucket.get(key)) for key in ledger if key.endswith("/result.json")]
    assert (result["status"], result["lines"]["lines"]) == (0, expected.lines)
    assert not [key for key in ledger if "lock" in key]
    assert SECRET_KEY.encode() not in b"".join(nanio_bucket.get(key) for key in ledger)
    before = nanio_bucket.keys()
    again = site.run(config)
    assert again.status == 0
    assert again.stdout.startswith("Nothing new")
    assert nanio_bucket.keys() == before


def test_s3_to_local_past_a_thousand_objects(site: ForkedSite, moto_bucket: Bucket) -> None:
    """A listing comes in pages of 1,000; what is read lies on both."""
    client = moto_bucket.store.client()
    for number in range(1010):
        client.put_object(Bucket=moto_bucket.name, Key=f"logs/tracking.{number:05d}", Body=b"")
    # A console's stand-in for a folder.
    client.put_object(Bucket=moto_bucket.name, Key="logs/tracking.00500/", Body=b"")
    first = upload(site, moto_bucket, "logs/tracking.00000")
    last = upload(site, moto_bucket, "logs/tracking.01009", seed=1)
    run = site.run(moto_bucket.settings("source", provider="S3", prefix="logs/"), site.to_files())
    result = assert_accounted(run, first.xapi + last.xapi)
    assert len(result["objects"]) == 1010
    output = site.output()
    assert manifests(output)[0].count(b"\n") == 1010
    [content] = statement_files(output).values()
    assert len(statements(content)) == (first.xapi + last.xapi).statements
    assert "and 990 more objects" in run.stdout


def test_s3_without_a_key_asks_the_machine_for_credentials(
    site: ForkedSite, nanio_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = upload(site, nanio_bucket, "tracking.log")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", nanio_bucket.store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", nanio_bucket.store.secret_key)
    config = {**nanio_bucket.settings("source", provider="S3"), "source_key": "", "source_secret": None}
    run = site.run(config, site.to_files())
    assert_accounted(run, log.xapi)
    assert_no_secret(run, site)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"source_secret": "hush-hush"}, ["MINIO at 127.0.0.1:", "refuses the credentials: check the key"]),
        ({"source_container": "no-such-bucket"}, ["container no-such-bucket does not exist", "create it first"]),
        ({"destination_container": "no-such-bucket"}, ["container no-such-bucket does not exist"]),
        ({"source_options": {"no_such_option": "hush-hush"}}, ["MINIO driver can't be made with", "no_such_option"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_store_that_says_no_is_told_in_one_line(
    site: ForkedSite, nanio_bucket: Bucket, change: dict[str, Any], detail: list[str]
) -> None:
    nanio_bucket.put("logs/tracking.log", b"{}\n")
    config = nanio_bucket.settings("source", prefix="logs") | nanio_bucket.settings("destination", prefix="out")
    assert_refused(site.run(config, change), *detail, secrets=["hush-hush", SECRET_KEY])
    assert nanio_bucket.keys() == ["logs/tracking.log"]


@dataclass
class CuttingProxy:
    """Stands between the job and a store, and cuts the connection in the middle of long answers.

    :param cuts: after how many bytes each of the next long answers is cut.
    """

    upstream: int
    cuts: list[int]
    port: int = 0
    done: list[int] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server, contextlib.suppress(OSError):
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            sent = 0
            while data := server.recv(4096):
                sent += len(data)
                if self.cuts and sent > self.cuts[0]:
                    keep = len(data) - (sent - self.cuts[0])
                    self.done.append(self.cuts.pop(0))
                    client.sendall(data[: max(keep, 0)])
                    # Closing alone would wait for the other thread, which reads from it.
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                for line in data.split(b"\r\n"):
                    if line.lower().startswith(b"range:"):
                        self.ranges.append(line.decode().partition("=")[2].strip())
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def cutting(upstream: int, cuts: list[int]) -> Iterator[CuttingProxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = CuttingProxy(upstream, cuts, listener.getsockname()[1])
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        yield proxy


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_stream_that_breaks_is_taken_up_where_it_broke(
    site: ForkedSite, nanio_bucket: Bucket, compressed: bool
) -> None:
    """Every one of the first connections breaks long before libcloud has the 5 MiB that it waits for."""
    mix = Mix(good=80, page_view=16_000 if compressed else 1500)
    log = upload(site, nanio_bucket, "tracking.log.gz" if compressed else "tracking.log", mix)
    size = log.path.stat().st_size
    assert size > 600_000
    cuts = [200_001, 150_017, 100_000, 99_999]
    with cutting(nanio_bucket.store.port, list(cuts)) as proxy:
        bucket = replace(nanio_bucket, store=replace(nanio_bucket.store, port=proxy.port))
        run = site.run(bucket.settings("source"), site.to_files(), lrs_max_wait_secs=60)
    result = assert_accounted(run, log.xapi)
    assert result["problems"] == []
    assert proxy.done == cuts
    # After each cut the job asks for what is left: at most one piece of the stream is read twice.
    starts = [int(asked.partition("-")[0]) for asked in proxy.ranges]
    resumed = [start for start in starts if start and (compressed or start != size - TAIL_BYTES)]
    # PLAN looks at its kind and reads how it ends: it begins again behind the first bytes, which it has kept.
    kept = (FIRST_BYTES_KEPT // STREAM_PIECE + 1) * STREAM_PIECE
    later = [start for start in resumed if start != kept]
    assert later == sorted(set(later))
    assert len(resumed) >= len(cuts) - 1
    assert later[-1] > sum(cuts) - len(cuts) * 80_000
    [content] = statement_files(site.output()).values()
    ids = [statement["id"] for statement in statements(content)]
    assert len(ids) == len(set(ids)) == log.xapi.statements


ODD_NAMES = ["logs//tracking.log", "/tracking.log", "logs/tracking.log"]


def test_slashes_in_names_are_kept(site: ForkedSite, moto_bucket: Bucket) -> None:
    """Three objects whose names libcloud would take for one or another."""
    logs = [upload(site, moto_bucket, name, seed=seed) for seed, name in enumerate(ODD_NAMES)]
    run = site.run(moto_bucket.settings("source", provider="S3"), site.to_files())
    result = assert_accounted(run, logs[0].xapi + logs[1].xapi + logs[2].xapi)
    assert [obj["name"] for obj in result["objects"]] == sorted(ODD_NAMES)


def test_a_log_whose_name_ends_in_a_slash_is_read(site: ForkedSite, moto_bucket: Bucket) -> None:
    """Only an empty object of such a name is a console's stand-in for a folder."""
    log = upload(site, moto_bucket, "logs/tracking.log/")
    moto_bucket.put("logs/", b"")
    result = assert_accounted(site.run(moto_bucket.settings("source", provider="S3"), site.to_files()), log.xapi)
    assert [obj["name"] for obj in result["objects"]] == ["logs/tracking.log/"]
    other = site.run(moto_bucket.settings("source", provider="S3"), site.to_files(), files=["other*"])
    assert "matches none of the 1 objects" in other.stderr


@pytest.mark.parametrize("name", ["../other/private.log", "./tracking.log", "logs/../tracking.log"])
def test_a_name_with_dot_segments_is_left_out_and_said(site: ForkedSite, moto_bucket: Bucket, name: str) -> None:
    """HTTP clients would request another object for it, or one of another bucket."""
    log = upload(site, moto_bucket, "tracking.log")
    other = moto_bucket.store.bucket(f"other-{moto_bucket.name}")
    name = name.replace("other", other.name)
    other.put("private.log", log.path.read_bytes())
    moto_bucket.put(name, log.path.read_bytes())
    run = site.run(moto_bucket.settings("source", provider="S3"), site.to_files())
    assert run.status == 3, run.detail
    assert f"{name} can't be read: its name has a part that is" in json.dumps(run.result)
    [content] = statement_files(site.output()).values()
    assert len(statements(content)) == log.xapi.statements


@pytest.mark.parametrize("role", ["destination", "ledger"])
def test_nothing_is_written_under_a_name_with_dot_segments(site: ForkedSite, moto_bucket: Bucket, role: str) -> None:
    site.log(MIX)
    config = {**site.source(), **site.to_files(), **moto_bucket.settings(role, provider="S3", prefix="a/../b")}
    run = site.run(config)
    assert run.status == 1, run.detail
    assert "Traceback" not in run.detail
    assert moto_bucket.keys() == []

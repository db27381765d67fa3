"""A log in every form in which logs are kept: the statements of the plain log, also if the job is killed meanwhile."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import zipfile
from collections.abc import Callable

import pytest
import zstandard

from tests.harness.forked_site import ForkedSite
from tests.harness.object_store import Bucket
from tests.harness.runs import check_sums
from tests.harness.tally import same
from tutor_transform_logs.demo.log_writer import Mix, write_log

NewWorld = Callable[[str], ForkedSite]


def tarred(log: bytes, last: bytes = b"") -> bytes:
    """A log in a tar archive, as the second of three files; the first is empty."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in (("logs/first.log", b""), ("logs/tracking.log", log), ("logs/last.log", last)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(log: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("logs/tracking.log", log)
    return out.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tracking.log.zst": zstandard.compress,
    "tracking.log.gz.gz": lambda log: gzip.compress(gzip.compress(log)),
    "tracking.log.bz2.zst.xz": lambda log: lzma.compress(zstandard.compress(bz2.compress(log))),
    "tracking.txt": lambda log: log.decode().encode("utf-16"),
    "tracking.txt.gz": lambda log: gzip.compress(b"\xfe\xff" + log.decode().encode("utf-16-be")),
    "tracking.bom.log": lambda log: b"\xef\xbb\xbf" + log,
    "logs.tar": tarred,
    "logs.gz.tar": lambda log: tarred(gzip.compress(log)),
    "logs.tar.gz": lambda log: gzip.compress(tarred(log)),
    "logs.zst.tar.xz": lambda log: lzma.compress(tarred(zstandard.compress(log))),
    "joined.tar": lambda log: tarred(b"") + tarred(log),
    "joined.tar.gz": lambda log: gzip.compress(tarred(b"")) + gzip.compress(tarred(log)),
    "logs.zip": zipped,
    "logs.stored.zip": lambda log: zipped(log, zipfile.ZIP_STORED),
}


def log_of(world: ForkedSite) -> bytes:
    """The same in every world: with lines that hold no event, and without a line end at its end."""
    path = world.folder / "lines"
    write_log(path, Mix(good=20, page_view=8, unknown_user=1, blank=1, copies=1), seed=7)
    content = path.read_bytes().rstrip(b"\n")
    path.unlink()
    return content


@pytest.fixture
def reference(new_world: NewWorld) -> ForkedSite:
    """What the plain log became, undisturbed."""
    world = new_world("plain")
    world.place("tracking.log", log_of(world))
    ran = world.run()
    same(0, ran.status, ran.detail)
    check_sums(world.result())
    return world


@pytest.mark.parametrize("name", PACKED)
def test_it_makes_the_statements_of_the_plain_log(new_world: NewWorld, reference: ForkedSite, name: str) -> None:
    world = new_world("packed")
    world.place(name, PACKED[name](log_of(world)))
    killed = world.run(steps={"label": "batch: before", "number": 3})
    same(-9, killed.status, killed.detail)
    ran = world.run()
    same(0, ran.status, ran.detail)
    same(reference.output_lines(), world.output_lines(), name)
    same(reference.result()["lines"], world.result()["lines"], "lines")
    check_sums(world.result())
    verified = world.run(command="verify")
    same(0, verified.status, verified.detail)
    assert "Nothing new" in world.run().stdout


@pytest.mark.parametrize("name", [name for name in PACKED if "bom" not in name])
def test_a_log_that_was_read_is_known_when_it_is_packed(new_world: NewWorld, reference: ForkedSite, name: str) -> None:
    [plain] = reference.logs.iterdir()
    content = plain.read_bytes()
    plain.unlink()
    reference.place(name, PACKED[name](content))
    assert "Nothing new" in reference.run().stdout
    # And in one that has grown meanwhile, what is new.
    more = b"".join(content.splitlines(keepends=True)[:5])
    reference.place(name, PACKED[name](content + b"\n" + more))
    ran = reference.run()
    same(0, ran.status, ran.detail)
    same(more.count(b"\n"), reference.result()["lines"]["lines"], "new lines")


@pytest.mark.parametrize("name", ["logs.tar", "logs.tar.gz", "logs.zip"])
@pytest.mark.parametrize("workers", [1, 3])
def test_logs_in_an_archive_are_logs_of_their_own(
    new_world: NewWorld, reference: ForkedSite, name: str, workers: int
) -> None:
    """Each has a last line without a line end; the second is incomplete, the fourth the same as the first."""
    log = log_of(reference)
    logs = [log, log[:-20], log.replace(b"2026-0", b"2025-0"), log]
    plain, packed = new_world("each"), new_world("packed")
    files = {f"{number}.log": content for number, content in enumerate(logs)}
    for number, content in files.items():
        plain.place(number, content)
    out = io.BytesIO()
    if name == "logs.zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, content in files.items():
                archive.writestr(number, content)
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if name.endswith("gz") else "w") as tar:
            for number, content in files.items():
                info = tarfile.TarInfo(number)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    packed.place(name, out.getvalue())
    killed = packed.run(steps={"label": "batch: before", "number": 7}, workers=workers)
    same(-9 if workers == 1 else killed.status, killed.status, killed.detail)
    for world in (plain, packed):
        ran = world.run(workers=workers)
        same(0, ran.status, ran.detail)
        check_sums(world.result())
    same(sorted(plain.output_lines()), sorted(packed.output_lines()), "statements")
    same(plain.result()["lines"], packed.result()["lines"], "lines")
    objects = {obj["name"]: obj["lines"] for obj in packed.result()["objects"]}
    same({f"{name}!/{obj['name']}": obj["lines"] for obj in plain.result()["objects"]}, objects, "objects")
    assert "Nothing new" in packed.run().stdout
    assert packed.run(command="verify").status == 0


@pytest.mark.parametrize("name", ["logs.tar", "logs.tar.gz", "logs.zip"])
def test_an_archive_in_an_object_store(
    new_world: NewWorld, reference: ForkedSite, nanio_bucket: Bucket, name: str
) -> None:
    world = new_world("packed")
    world.place(name, PACKED[name](log_of(world)))
    world.in_bucket(nanio_bucket, "source")
    killed = world.run(steps={"label": "batch: before", "number": 3})
    same(-9, killed.status, killed.detail)
    ran = world.run()
    same(0, ran.status, ran.detail)
    same(reference.output_lines(), world.output_lines(), name)


def test_a_compressed_archive_that_is_done_is_not_opened_again(new_world: NewWorld) -> None:
    """Neither is a large .gz file: it is known by its name, its size and its first bytes."""
    world = new_world("archive")
    log = log_of(world)
    packed = gzip.compress(tarred(log, b"\n" * 3 * 1024**2), 0)
    world.place("logs.tar.gz", packed)
    ran = world.run(max_invalid_ratio=1)
    same(0, ran.status, ran.detail)
    assert "Nothing new" in world.run().stdout
    good = 2 * 1024**2
    world.place("logs.tar.gz", packed[:good] + b"x" * (len(packed) - good))
    ran = world.run()
    same(0, ran.status, ran.detail)
    assert "Nothing new" in ran.stdout
    # With another size it is another archive.
    world.place("logs.tar.gz", packed[:good])
    ran = world.run(max_invalid_ratio=1)
    same(3, ran.status, ran.detail)
    assert "truncated gzip data" in ran.stdout


def test_what_is_missing_in_an_archive_is_said(new_world: NewWorld) -> None:
    world = new_world("truncated")
    log = log_of(world)
    world.place("logs.tar.gz", gzip.compress(tarred(log) + bytes(1000))[:-2000])
    for command in ("check", "run", "run"):
        ran = world.run(command=command)
        assert "Traceback" not in ran.detail
        assert "truncated" in ran.stdout
        if command == "run":
            same(3, ran.status, ran.detail)
    world.place("logs.tar.gz", gzip.compress(tarred(log)))
    ran = world.run()
    same(0, ran.status, ran.detail)
    reference = new_world("whole")
    reference.place("tracking.log", log)
    assert reference.run().status == 0
    # Two runs in one second: the names of their files do not say which came first.
    same(sorted(reference.output_lines()), sorted(world.output_lines()), "statements")


def test_what_can_not_be_read_is_left_out_and_said(new_world: NewWorld, reference: ForkedSite) -> None:
    world = new_world("encrypted")
    log = log_of(world)
    world.place("tracking.log", log)
    gpg = ["gpg", "--batch", "--homedir", str(world.folder), "--pinentry-mode", "loopback", "--passphrase", "x"]
    encrypted = subprocess.run([*gpg, "--symmetric"], input=log, capture_output=True, check=True).stdout
    world.place("old.log.gpg", encrypted)
    for command in ("check", "run", "run"):
        ran = world.run(command=command)
        assert "old.log.gpg" in ran.stdout
        assert "it is encrypted (OpenPGP, as gpg does): decrypt it and run the command again" in " ".join(
            ran.stdout.split()
        )
        assert "Traceback" not in ran.detail
        if command == "run":
            same(3, ran.status, ran.detail)
    same(reference.output_lines(), world.output_lines(), "statements")
    assert not list(world.ledger.glob("*/*/dead*")) or b"BEGIN PGP" not in b"".join(
        path.read_bytes() for path in world.ledger.glob("*/*/dead-letters.jsonl")
    )

"""A log in every form in which logs are kept: the statements of the plain log, also if the job is killed meanwhile."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from collections.abc import Callable

import pytest
import zstandard

from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tests.harness.tally import same
from tutor_transform_logs.demo.log_writer import Mix, write_log

NewWorld = Callable[[str], ForkedSite]

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tracking.log.zst": zstandard.compress,
    "tracking.log.gz.gz": lambda log: gzip.compress(gzip.compress(log)),
    "tracking.log.bz2.zst.xz": lambda log: lzma.compress(zstandard.compress(bz2.compress(log))),
    "tracking.txt": lambda log: log.decode().encode("utf-16"),
    "tracking.txt.gz": lambda log: gzip.compress(b"\xfe\xff" + log.decode().encode("utf-16-be")),
    "tracking.bom.log": lambda log: b"\xef\xbb\xbf" + log,
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

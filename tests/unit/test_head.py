"""How an object is packed is known by its first bytes, and so is what can't be read at all."""

from __future__ import annotations

import bz2
import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from tutor_transform_logs.lms_job.model.plan import HEAD_BYTES
from tutor_transform_logs.lms_job.read.head import MAX_LAYERS, Head, head_of

LOG = b"".join(b'{"event": "number %d"}\n' % number for number in range(1000))
GPG = ("--batch", "--yes", "--passphrase", "x", "--pinentry-mode", "loopback")


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("", LOG),
        ("gzip+gzip", gzip.compress(gzip.compress(LOG))),
        ("gzip+zstd+bzip2", gzip.compress(zstandard.compress(bz2.compress(LOG)))),
        ("utf-16-le", b"\xff\xfe" + LOG.decode().encode("utf-16-le")),
        ("utf-16-le", LOG.decode().encode("utf-16-le")),
        ("gzip+utf-16-be", gzip.compress(b"\xfe\xff" + LOG.decode().encode("utf-16-be"))),
    ],
)
def test_every_layer_is_known(kind: str, stored: bytes) -> None:
    assert head_of(stored) == Head(kind, LOG[:HEAD_BYTES])


def test_what_is_cut_off_or_damaged_begins_as_far_as_it_can_be_read() -> None:
    packed = gzip.compress(gzip.compress(LOG, 0), 0)
    assert head_of(packed[:2000]).kind == "gzip+gzip"
    assert LOG.startswith(head_of(packed[:2000]).first)
    assert head_of(packed[:12]) == Head("gzip", b"")


def test_layers_have_an_end() -> None:
    packed = LOG
    for _ in range(MAX_LAYERS):
        packed = gzip.compress(packed)
    assert head_of(packed) == Head("+".join(["gzip"] * MAX_LAYERS), LOG[:HEAD_BYTES])
    assert head_of(gzip.compress(packed)).problem == "it is compressed more than 4 times, and may have no end"


def test_without_zstandard_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    found = head_of(gzip.compress(zstandard.compress(LOG)))
    assert (found.kind, found.first) == ("gzip+zstd", b"")
    assert found.problem.startswith("zstd data, and this image has no Python package zstandard")


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (b"-----BEGIN PGP MESSAGE-----\n\n", "it is encrypted (OpenPGP"),
        # As gpg --encrypt begins, for keys of several algorithms, and rfc9580's new packets.
        (b"\x85\x02\x0c\x03", "it is encrypted (OpenPGP"),
        (b"\x84\x5e\x03", "it is encrypted (OpenPGP"),
        (b"\xc1\xc1\x10\x03", "it is encrypted (OpenPGP"),
        (b"\xc1\x5e\x06", "it is encrypted (OpenPGP"),
        (b"age-encryption.org/v1\n", "it is encrypted (age)"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7-Zip archive"),
        (b"\x04\x22\x4d\x18", "it is LZ4 data"),
    ],
)
def test_what_can_not_be_read_is_told_in_one_line(stored: bytes, problem: str) -> None:
    for packed in (stored, gzip.compress(stored)):
        found = head_of(packed)
        assert found.problem.startswith(problem)
        assert found.problem.endswith("run the command again")
        assert "\n" not in found.problem
        assert found.first == b""


@pytest.mark.parametrize("stored", [b"", b"\x85", b"\xc3", b"\xc3\xa9\n", "ééé".encode(), b"\x8c", b"Salted", b"{"])
def test_what_may_be_a_log_is_not_taken_for_an_encrypted_file(stored: bytes) -> None:
    assert head_of(stored) == Head("", stored)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg")
@pytest.mark.parametrize("options", [(), ("--armor",), ("--compress-algo", "none")])
def test_what_gpg_has_encrypted_is_known(options: tuple[str, ...], tmp_path: Path) -> None:
    command = ["gpg", "--homedir", str(tmp_path), *GPG, *options, "--symmetric", "--output", "-"]
    encrypted = subprocess.run(command, input=LOG, capture_output=True, check=True).stdout
    assert "OpenPGP" in head_of(encrypted).problem

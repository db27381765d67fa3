"""What is in an archive is read as if each file lay there by itself, with bounded memory, in any order."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import subprocess
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.contents import cut
from tutor_transform_logs.lms_job.model.plan import DONE_BEFORE, ContentIndex, Fingerprint
from tutor_transform_logs.lms_job.plan.discovery import ArchiveIndex, IdentifiedObject, identify_objects
from tutor_transform_logs.lms_job.read import archives
from tutor_transform_logs.lms_job.read.archives import Archives
from tutor_transform_logs.lms_job.read.decompress import BrokenObject, decompressed
from tutor_transform_logs.lms_job.read.head import HEAD_STORED_BYTES
from tutor_transform_logs.lms_job.read.wrong_kind import FIRST_BYTES
from tutor_transform_logs.lms_job.storage.base import StoredObject
from tutor_transform_logs.lms_job.util.formatting import printable

LOGS = {name: b"".join(b"%s %07d\n" % (name.encode(), n) for n in range(3000)) for name in ("a", "b", "logs/c")}


class Folder:
    """Objects by name; counts the bytes that are read."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.contents = dict(contents)
        self.bytes_read = 0

    def check(self, create: bool = False) -> None: ...

    def where(self, name: str) -> str:
        return name

    def reading_ahead(self, names: Sequence[str], at_once: int = 1) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        yield from (StoredObject(name, len(self.contents[name])) for name in sorted(self.contents))

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        content = self.contents[name][start:end]
        for piece in cut(content, range(0, len(content), 5000)):
            self.bytes_read += len(piece)
            yield piece


def tar(files: Mapping[str, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


ARCHIVES: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "logs.tar": tar,
    "gnu.tar": lambda files: tar(files, tarfile.GNU_FORMAT),
    "ustar.tar": lambda files: tar(files, tarfile.USTAR_FORMAT),
    "logs.tar.gz": lambda files: gzip.compress(tar(files)),
    "logs.tar.xz.gz": lambda files: gzip.compress(lzma.compress(tar(files, tarfile.GNU_FORMAT))),
    "logs.zip": zipped,
    "stored.zip": lambda files: zipped(files, zipfile.ZIP_STORED),
    "bzip2.zip": lambda files: zipped(files, zipfile.ZIP_BZIP2),
}


JOINED: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "logs.tar": b"".join,
    "logs.tar.gz": lambda parts: b"".join(map(gzip.compress, parts)),
    "logs.tar.xz": lambda parts: lzma.compress(b"".join(parts)),
}


def identified(source: Archives, index: ContentIndex | None = None) -> list[IdentifiedObject]:
    return identify_objects(source, source.listing(""), index or ContentIndex([]))


def content_of(source: Archives, obj: IdentifiedObject) -> bytes:
    return b"".join(decompressed(source.read(obj.name), obj.compression))


@pytest.mark.parametrize("name", ARCHIVES)
def test_its_files_are_objects_in_their_order(name: str) -> None:
    source = Archives(Folder({name: ARCHIVES[name](LOGS)}))
    found = identified(source)
    assert [obj.name for obj in found] == [f"{name}!/{each}" for each in LOGS]
    assert [obj.place for obj in found] == [1, 2, 3]
    assert [obj.content for obj in found] == [1, 2, 3]
    assert [obj.note for obj in found] == ["", "", ""]
    for obj, log in zip(found, LOGS.values(), strict=True):
        assert content_of(source, obj) == log
        # By a process that has not listed it.
        assert content_of(Archives(Folder({name: ARCHIVES[name](LOGS)})), obj) == log


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("zeros", [0, 1, 19, 20_000])
def test_archives_that_were_joined_are_read_to_the_last(name: str, zeros: int) -> None:
    other = {"a": b"another a\n", "d": b"d\n" * 5000}
    parts = [tar(LOGS), tar({}) + bytes(512 * zeros), tar(other, tarfile.GNU_FORMAT), bytes(700)]
    folder = Folder({name: JOINED[name](parts)})
    source = Archives(folder)
    found = sorted(identified(source), key=lambda obj: obj.place)
    assert [(obj.name, obj.note) for obj in found] == [(f"{name}!/{each}", "") for each in (*LOGS, "a#2", "d")]
    for obj, log in zip(found, [*LOGS.values(), *other.values()], strict=True):
        assert content_of(Archives(folder), obj) == log


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("zeros", [1, 20, 1900])
def test_before_an_archive_may_be_one_with_no_files(name: str, zeros: int) -> None:
    folder = Folder({name: JOINED[name]([bytes(512 * zeros), tar(LOGS)])})
    found = sorted(identified(Archives(folder)), key=lambda obj: obj.place)
    assert [(obj.name, obj.note) for obj in found] == [(f"{name}!/{each}", "") for each in LOGS]
    for obj, log in zip(found, LOGS.values(), strict=True):
        assert content_of(Archives(folder), obj) == log


@pytest.mark.parametrize("zeros", [1, 512, 10_240, 10_241])
@pytest.mark.parametrize("log", [b"", b"\n".join(LOGS.values())])
def test_a_log_that_begins_with_zeros_is_a_log(zeros: int, log: bytes) -> None:
    (found,) = identified(Archives(Folder({"t.log": bytes(zeros) + log})))
    assert (found.name, found.note, found.compression, found.length) == ("t.log", "", "", zeros + len(log))


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("behind", [b"no archive", b"no archive" * 1000, bytes(512) + b"\1" * 511])
def test_what_is_behind_an_archive_and_is_not_one_is_said(name: str, behind: bytes) -> None:
    found = identified(Archives(Folder({name: JOINED[name]([tar(LOGS), behind])})))
    notes = {obj.name: obj.note for obj in found if obj.note}
    assert [obj.place for obj in found if not obj.note] == [1, 2, 3]
    assert list(notes) == [name]
    assert notes[name].startswith("damaged tar archive (what follows its end is not an archive)")


def test_of_zip_archives_that_were_joined_the_last_one_is_read_and_the_others_are_said() -> None:
    with_folder = io.BytesIO(zipped({"logs/": b"", "logs/x": LOGS["a"]}))
    found = identified(Archives(Folder({"joined.zip": zipped(LOGS) + zipped({"d": b"d\n"})})))
    assert [(obj.name, obj.note.partition(":")[0]) for obj in found] == [
        ("joined.zip", "several ZIP archives in one file, of which only the last is read"),
        ("joined.zip!/d", ""),
    ]
    assert [obj.note for obj in identified(Archives(Folder({"x.zip": with_folder.getvalue()})))] == [""]


def test_tar_reads_joined_archives_as_the_job_does(tmp_path: Path) -> None:
    (tmp_path / "joined.tar").write_bytes(tar(LOGS) + tar({"d": b"d\n"}))
    command = ["tar", "--ignore-zeros", "-tf", "joined.tar"]
    listed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()
    found = identified(Archives(Folder({"joined.tar": (tmp_path / "joined.tar").read_bytes()})))
    assert sorted(obj.name.partition("!/")[2] for obj in found) == sorted(listed) == ["a", "b", "d", "logs/c"]


@pytest.mark.parametrize("name", ARCHIVES)
@given(
    reads=st.lists(st.tuples(st.sampled_from(sorted(LOGS)), st.integers(0, 40_000), st.integers(0, 60_000)), max_size=8)
)
def test_any_part_is_read_in_any_order(name: str, reads: list[tuple[str, int, int]]) -> None:
    source = Archives(Folder({name: ARCHIVES[name](LOGS)}))
    stored = {obj.name: b"".join(source.read(obj.name)) for obj in identified(source)}
    for log, start, end in reads:
        label = f"{name}!/{log}"
        assert b"".join(source.read(label, start, end)) == stored[label][start:end]
        # Given up in the middle.
        next(source.read(label, start), b"")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_packed_log_in_an_archive_is_known_as_the_log(kind: str) -> None:
    files = {"a.gz": gzip.compress(LOGS["a"]), "b.xz": lzma.compress(LOGS["b"]), "logs/c": LOGS["logs/c"]}
    packed = tar(files) if kind == "tar" else zipped(files)
    folder = Folder({**LOGS, "packed": packed, "again.gz": gzip.compress(packed) if kind == "tar" else b""})
    found = {obj.name: obj.content for obj in identified(Archives(folder))}
    for number, (log, name) in enumerate(zip(LOGS, files, strict=True), 1):
        assert len({found[log], found[f"packed!/{name}"]}) == 1, number
        if kind == "tar":
            assert found[f"again.gz!/{name}"] == found[log]


def test_a_compressed_tar_is_read_once_to_identify_and_once_to_read_all_of_it() -> None:
    files = {f"{number}.log": b"%d" % number + b"x" * 9 * HEAD_STORED_BYTES for number in range(8)}
    packed = gzip.compress(tar(files), 1)
    folder = Folder({"logs.tgz": packed})
    source = Archives(folder)
    found = identified(source)
    assert folder.bytes_read < 1.1 * len(packed) + HEAD_STORED_BYTES
    folder.bytes_read = 0
    for obj in sorted(found, key=lambda obj: obj.place):
        # As WORK does: is it still what was planned, is it a tracking log? Then all of it.
        b"".join(source.read(obj.name, 0, HEAD_STORED_BYTES))
        beginning = 0
        for chunk in source.read(obj.name):
            beginning += len(chunk)
            if beginning >= FIRST_BYTES:
                break
        assert sum(map(len, source.read(obj.name))) == obj.size
    assert folder.bytes_read < 1.1 * len(packed) + HEAD_STORED_BYTES


def test_names_are_labels() -> None:
    """The same name twice, one that leads out of a folder, one that is absolute, one that no terminal should get."""
    names = ["./a", "a", "../../etc/passwd", "/etc/passwd", "x\x1b[2Jy\n", "b!/c", "é" * 2000, "._a"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            content = b"%d" % number * 300
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for type_ in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"special-{type_!r}")
            info.type, info.linkname = type_, "../../etc/passwd"
            archive.addfile(info)
    packed = out.getvalue()
    for content in (packed, gzip.compress(packed)):
        source = Archives(Folder({"t": content}))
        found = sorted(identified(source), key=lambda obj: obj.place)
        labels = [obj.name.removeprefix("t!/") for obj in found]
        long = ("é" * 2000)[:1024]
        assert labels == ["a", "a#2", "../../etc/passwd", "etc/passwd", "x\x1b[2Jy\n", "b!c", long]
        assert printable(labels[4]) == "x\\x1b[2Jy\\n"
        assert [content_of(source, obj)[:1] for obj in found] == [b"%d" % number for number in range(7)]


@pytest.mark.parametrize("name", ["logs.tar", "logs.tar.gz"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_of_a_truncated_archive_what_is_there_is_read(name: str, share: float) -> None:
    packed = ARCHIVES[name](LOGS)
    source = Archives(Folder({name: packed[: int(len(packed) * share)]}))
    found = sorted(identified(source), key=lambda obj: obj.place)
    assert found[0].name == name
    assert found[0].note.startswith("truncated ")
    assert found[0].note.endswith("what is before that is read")
    assert len(found) > 1
    for obj in found[1:]:
        log = LOGS[obj.name.partition("!/")[2]]
        got = b""
        try:
            for piece in decompressed(source.read(obj.name), obj.compression):
                got += piece
            assert got == log[: obj.size]
        except BrokenObject:
            assert obj is found[-1]
        assert log.startswith(got)


@given(st.data())
def test_a_damaged_archive_is_read_as_far_as_it_is_good(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ARCHIVES)))
    packed = bytearray(ARCHIVES[name]({"a": LOGS["a"][:2000], "b": LOGS["b"][:2000]}))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    source = Archives(Folder({name: bytes(packed)}))
    for obj in identified(source):
        if obj.content:
            with contextlib.suppress(BrokenObject):
                content_of(source, obj)


def test_bombs_take_bounded_memory() -> None:
    """A header that says a gigabyte of name, and a member of a gigabyte in a megabyte."""
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1024**3
    member = tarfile.TarInfo("log")
    member.size = 1024**3
    bombs = {
        "name.tar.gz": gzip.compress(name.tobuf(tarfile.GNU_FORMAT) + bytes(64 * 1024**2), 1),
        "member.tar.gz": gzip.compress(member.tobuf() + bytes(64 * 1024**2), 1),
        "member.zip": zipped({"log": bytes(64 * 1024**2)}),
    }
    tracemalloc.start()
    try:
        source = Archives(Folder(bombs))
        found = {obj.name: obj for obj in identified(source)}
        size = 0
        for piece in decompressed(source.read("member.zip!/log"), "gzip"):
            size += len(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 64 * 1024**2
    assert most < 24 * 1024**2
    assert "an extended header of 1,073,741,824 bytes" in found["name.tar.gz"].note
    assert found["member.tar.gz"].note.startswith("truncated tar archive")


def test_members_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    found = identified(Archives(Folder({"logs.tar": tar(LOGS)})))
    assert [obj.name for obj in found] == ["logs.tar", "logs.tar!/a", "logs.tar!/b"]
    assert found[0].note.startswith("it has more than 2 files: only these are read")


@pytest.mark.parametrize(
    ("stored", "name", "problem"),
    [
        (tar({"x.tar": tar(LOGS)}), "t!/x.tar", "it is an archive in an archive"),
        (zipped({"x.zip": zipped(LOGS)}), "t!/x.zip", "it is an archive in an archive"),
        (gzip.compress(zipped(LOGS)), "t", "it is ZIP in gzip"),
        (
            zipped({"x": LOGS["a"]}, zipfile.ZIP_LZMA),
            "t!/x",
            "it is compressed with a method of ZIP that is not read (14)",
        ),
        (zipped(LOGS)[:-10], "t", "damaged ZIP archive"),
        (zipped({}), "t", ""),
    ],
)
def test_what_is_not_read_is_told(stored: bytes, name: str, problem: str) -> None:
    [found] = identified(Archives(Folder({"t": stored})))
    assert (found.name, found.content) == (name, 0)
    assert found.note.startswith(problem)
    assert bool(found.note) == bool(problem)


def test_an_object_with_the_name_of_a_member_is_an_object() -> None:
    source = Archives(Folder({"a!/b": LOGS["a"], "t.tar!/x": LOGS["b"]}))
    assert [(obj.name, obj.compression, obj.length) for obj in identified(source)] == [
        ("a!/b", "", len(LOGS["a"])),
        ("t.tar!/x", "", len(LOGS["b"])),
    ]
    assert b"".join(source.read("a!/b")) == LOGS["a"]


def test_archives_of_the_usual_programs(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / ("long" * 40)).write_bytes(LOGS["a"])
    (folder / "b").write_bytes(LOGS["b"])
    (folder / "link").symlink_to("b")
    (folder / "hard").hardlink_to(folder / "b")
    with (folder / "sparse").open("wb") as file:
        file.truncate(2 * 1024**2)
        file.seek(0, 2)
        file.write(LOGS["logs/c"])
    for arguments in (
        ["tar", "cf", "1"],
        ["tar", "czSf", "2"],
        ["tar", "--format=posix", "-cSf", "3"],
        ["zip", "-rq", "4"],
    ):
        subprocess.run([*arguments, "logs"], cwd=tmp_path, check=True)
    for path in (path for path in tmp_path.iterdir() if path.is_file()):
        source = Archives(Folder({"t": path.read_bytes()}))
        found = {obj.name.removeprefix("t!/logs/"): obj for obj in identified(source)}
        assert content_of(source, found["long" * 40]) == LOGS["a"]
        sparse = found.pop("sparse")
        if path.name in "23":
            assert sparse.note.startswith("it is stored as a sparse file")
        # Of a hard link, one name has the content.
        known = [obj for name, obj in found.items() if name in ("b", "hard")]
        assert {content_of(source, obj) for obj in known} == {LOGS["b"]}


def test_many_files_of_one_name_and_many_records_of_a_header_take_little_time() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for _ in range(5000):
            archive.addfile(tarfile.TarInfo("a.log"))
    records = b"6 a=b\n" * 170_000
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    extended = header.tobuf(tarfile.USTAR_FORMAT) + records + b"\0" * (-len(records) % 512)
    source = Archives(Folder({"logs.tar": extended + out.getvalue()}))
    began = time.process_time()
    [entry] = source.listing("")
    names = [member.name for member in source.members(entry, "tar")]
    assert time.process_time() - began < 3
    assert len(set(names)) == 5000
    assert (names[0], names[-1]) == ("logs.tar!/a.log", "logs.tar!/a.log#5000")


def test_an_archive_is_opened_for_a_destination_that_lacks_something() -> None:
    folder = Folder({"logs.tgz": gzip.compress(tar(LOGS)), "logs.tar": tar({"x": LOGS["a"][9:]})})
    size = len(folder.contents["logs.tgz"])
    first = ArchiveIndex()
    identify_objects(Archives(folder), folder.listing(""), ContentIndex([]), first)
    [archive] = first.found
    assert (archive.name, archive.size, archive.done) == ("logs.tgz", size, ())
    done = replace(archive, done=("a", "b"))
    for known, destinations, opened in (
        (done, ("a", "b"), False),
        (done, ("a",), False),
        (done, ("a", "c"), True),
        (archive, ("a",), True),
        (replace(done, size=size + 1), ("a",), True),
        (replace(done, fingerprint=Fingerprint.of(b"other")), ("a",), True),
    ):
        index = ArchiveIndex([known], destinations)
        found = identify_objects(Archives(folder), folder.listing(""), ContentIndex([]), index)
        assert [obj.name for obj in found if obj.note == DONE_BEFORE] == ([] if opened else ["logs.tgz"])
        assert sum(obj.name.startswith("logs.tgz!/") for obj in found) == (3 if opened else 0)
        assert index.found == [archive if opened else known]

"""Logs with the same first bytes: cloned servers, restored snapshots, logs that shrink and grow again, and short ones.

In one process, on real files: see ``echo_job.py``. The last test is an oracle: random logs, of which it knows what must
arrive.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.echo_job import EchoJob, line_of

ROUNDS = 1500 if tally.LONG else 24
SEED = 20261130
# Together more than the first bytes that are a fingerprint.
COMMON = range(20)


@pytest.fixture
def job(tmp_path: Path) -> EchoJob:
    return EchoJob(tmp_path)


def text(*numbers: int) -> bytes:
    return b"".join(line_of(str(number)).encode() + b"\n" for number in numbers)


def write(job: EchoJob, name: str, content: bytes, pack: Callable[[bytes], bytes] = bytes) -> Path:
    path = job.logs / name
    path.write_bytes(pack(content))
    return path


def append(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.write(text(*numbers))


def delivered(job: EchoJob) -> dict[int, int]:
    """How often each line was delivered."""
    return dict(Counter(int(number) for number in job.box.delivered()))


def once(*numbers: int) -> dict[int, int]:
    return dict.fromkeys(numbers, 1)


PACKED = pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress], ids=["plain", "gzip", "bzip2"])


@PACKED
def test_clones_in_one_run(job: EchoJob, pack: Callable[[bytes], bytes]) -> None:
    """Each is a log of its own: what they have in common is in both, and comes from both."""
    write(job, "tracking.log-a", text(*COMMON, *range(100, 130)), pack)
    write(job, "tracking.log-b", text(*COMMON, *range(200, 220)), pack)
    write(job, "tracking.log-c", text(*COMMON, *range(300, 340)), pack)
    assert job.run() == 0
    expected = once(*range(100, 130), *range(200, 220), *range(300, 340)) | dict.fromkeys(COMMON, 3)
    assert delivered(job) == expected
    assert job.run() == 0
    assert delivered(job) == expected
    assert job.left_out() == []


@PACKED
@pytest.mark.parametrize("gone", [False, True])
def test_a_clone_comes_later(job: EchoJob, pack: Callable[[bytes], bytes], gone: bool) -> None:
    first = write(job, "tracking.log-a", text(*COMMON, *range(100, 110)), pack)
    assert job.run() == 0
    if gone:
        first.unlink()
    write(job, "tracking.log-b", text(*COMMON, *range(200, 230)), pack)
    assert job.run() == 0
    expected = once(*range(100, 110), *range(200, 230)) | dict.fromkeys(COMMON, 2)
    assert delivered(job) == expected
    assert job.run() == 0
    assert delivered(job) == expected


@pytest.mark.parametrize("more", [range(200, 230), [*range(200, 229), 2 * 10**12]], ids=["as long", "another length"])
def test_a_log_of_the_same_stored_size_takes_the_name_in_a_rotation(job: EchoJob, more: Iterable[int]) -> None:
    """By its name, its size and its first bytes it is the log that had the name before."""

    def pack(content: bytes) -> bytes:
        return gzip.compress(content, 0).ljust(16_000, b"\0")

    last = write(job, "tracking.log-1.gz", text(*COMMON, *range(100, 130)), pack)
    assert job.run() == 0
    last.rename(job.logs / "tracking.log-2.gz")
    write(job, "tracking.log-1.gz", text(*COMMON, *more), pack)
    assert job.run() == 0
    assert delivered(job) == once(*range(100, 130), *more) | dict.fromkeys(COMMON, 2)
    assert job.run() == 0
    assert sum(delivered(job).values()) == 100


def test_clones_that_differ_only_later(job: EchoJob) -> None:
    """One of them is a copy until it goes its own way; then it is another log."""
    a = write(job, "tracking.log-a", text(*COMMON))
    b = write(job, "tracking.log-b", text(*COMMON))
    assert job.run() == 0
    assert delivered(job) == once(*COMMON)
    append(a, *range(100, 105))
    append(b, *range(200, 203))
    assert job.run() == 0
    expected = once(*range(100, 105), *range(200, 203)) | dict.fromkeys(COMMON, 2)
    assert delivered(job) == expected
    append(a, 105)
    append(b, *range(203, 220))
    assert job.run() == 0
    assert delivered(job) == expected | once(105, *range(203, 220))


@PACKED
def test_a_shorter_copy_is_skipped(job: EchoJob, pack: Callable[[bytes], bytes]) -> None:
    whole = text(*COMMON, *range(100, 110))
    write(job, "tracking.log", whole)
    write(job, "tracking.log-copy", whole[:7000], pack)
    for _ in range(2):
        assert job.run() == 0
        assert delivered(job) == once(*COMMON, *range(100, 110))
    # Known as a copy, it stays one when the log is gone.
    (job.logs / "tracking.log").unlink()
    assert job.run() == 0
    assert job.left_out() == []


def test_a_shorter_object_that_can_not_be_compared_is_said(job: EchoJob) -> None:
    log = write(job, "tracking.log-a", text(*COMMON, *range(100, 110)))
    assert job.run() == 0
    log.unlink()
    other = write(job, "tracking.log-b", text(*COMMON, 200))
    write(job, "tracking.log-c", text(300))
    assert job.run() == 3
    assert job.left_out() == ["tracking.log-b"]
    # With other work and without any.
    assert job.run() == 3
    append(other, *range(201, 230))
    assert job.run() == 0
    assert job.left_out() == []
    assert delivered(job) == once(*range(100, 110), *range(200, 230), 300) | dict.fromkeys(COMMON, 2)


def test_a_log_that_shrank_and_outgrew_its_length(job: EchoJob) -> None:
    log = write(job, "tracking.log", text(*COMMON, *range(100, 140)))
    assert job.run() == 0
    log.write_bytes(text(*COMMON, *range(200, 210)))
    assert job.run() == 3
    assert job.left_out() == ["tracking.log"]
    append(log, *range(210, 260))
    assert job.run() == 0
    assert delivered(job) == once(*range(100, 140), *range(200, 260)) | dict.fromkeys(COMMON, 2)


def test_it_shrinks_and_outgrows_its_length_before_an_interrupted_run_is_resumed(job: EchoJob) -> None:
    log = write(job, "tracking.log", text(*COMMON, *range(100, 110)))
    assert job.run(capacity=8) == 4
    log.write_bytes(text(*COMMON, *range(200, 230)))
    # What was planned is gone, which is said; the log that is there now is read whole.
    assert job.run() == 3
    found = delivered(job)
    assert {number: found.get(number) for number in range(200, 230)} == once(*range(200, 230))
    assert job.run() == 0


def test_what_is_said_of_a_shorter_log_compares_it_with_what_was_seen(job: EchoJob) -> None:
    log = write(job, "tracking.log", text(*COMMON, *range(100, 140)))
    seen = log.stat().st_size
    assert job.run(capacity=8) == 4
    # Longer than what was read of it.
    log.write_bytes(text(*COMMON, *range(200, 230)))
    assert job.run() == 3
    plan = job.ledger.load_plan()
    assert plan is not None
    assert [obj.note for obj in plan.objects] == [
        f"shorter than it was ({log.stat().st_size:,} bytes; {seen:,} were seen before): "
        "nothing of it is read; --restart reads all logs again"
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
@pytest.mark.parametrize("batches", [1, 3, 8])
def test_a_compressed_log_is_replaced_before_an_interrupted_run_is_resumed(
    job: EchoJob, pack: Callable[[bytes], bytes], batches: int
) -> None:
    """Only where the run had come no further than what both have in common, the other log can take its place."""
    first, second = range(100, 130), range(200, 240)
    write(job, "tracking.log.1.gz", text(*COMMON, *first), pack)
    assert job.run(capacity=batches) == 4
    write(job, "tracking.log.1.gz", text(*COMMON, *second), pack)
    statuses = [job.run(), job.run()]
    found = delivered(job)
    assert {number: found.get(number) for number in second} == once(*second)
    if 3 * batches > len(COMMON):
        assert 3 in statuses
        assert {number for number in found if number in first} == set(range(100, 100 + 3 * batches - len(COMMON)))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
@pytest.mark.parametrize("batches", [1, 8, 9])
@pytest.mark.parametrize("common", [text(*COMMON), bytes(5000)], ids=["lines", "zeros"])
def test_compressed_logs_are_rotated_on_before_an_interrupted_run_is_resumed(
    job: EchoJob, pack: Callable[[bytes], bytes], batches: int, common: bytes
) -> None:
    first, second = range(100, 130), range(200, 240)
    old = write(job, "tracking.log.1.gz", common + text(*first), pack)
    assert job.run(capacity=batches) == 4
    old.rename(job.logs / "tracking.log.2.gz")
    write(job, "tracking.log.1.gz", common + text(*second), pack)
    statuses = [job.run(), job.run()]
    found = delivered(job)
    assert {number: found.get(number) for number in (*first, *second)} == once(*first, *second), (statuses, found)


@pytest.mark.parametrize("begun", [1, 120, 255])
def test_a_log_first_seen_short_is_known_when_it_is_rotated_later(job: EchoJob, begun: int) -> None:
    whole = text(*range(40))
    log = write(job, "tracking.log", whole[:begun])
    job.run()
    log.write_bytes(whole)
    assert job.run() == 0
    assert delivered(job) == once(*range(40))
    write(job, "tracking.log.1.gz", whole, gzip.compress)
    log.write_bytes(text(100))
    assert job.run() == 0
    assert delivered(job) == once(*range(40), 100)


def test_another_log_with_the_short_beginning_and_the_name(job: EchoJob) -> None:
    whole = text(*range(20))
    log = write(job, "tracking.log", whole[:10])
    job.run()
    log.write_bytes(whole)
    assert job.run() == 0
    log.write_bytes(text(*range(100, 160)))
    assert whole[:10] == text(100)[:10]
    assert job.run() == 0
    assert delivered(job) == once(*range(20), *range(100, 160))


@pytest.mark.parametrize("grown", [0, 12])
@pytest.mark.parametrize("at", range(6))
def test_a_log_is_rotated_between_two_looks_of_plan(
    job: EchoJob, monkeypatch: pytest.MonkeyPatch, at: int, grown: int
) -> None:
    """PLAN has seen how it begins, and another log has its name when it looks at its end."""
    log = write(job, "tracking.log", text(*COMMON))
    assert job.run() == 0
    append(log, *range(100, 100 + grown))
    looks, read = itertools.count(), job.source.read

    def rotating(name: str, start: int = 0, end: int | None = None) -> Iterable[bytes]:
        if next(looks) == at:
            log.rename(job.logs / "tracking.log.1")
            log.write_bytes(text(200))
        return read(name, start, end)

    monkeypatch.setattr(job.source, "read", rotating)
    job.run()
    monkeypatch.undo()
    assert job.run() == 0
    assert job.run() == 0
    rotated = (200,) if (job.logs / "tracking.log.1").exists() else ()
    assert delivered(job) == once(*COMMON, *range(100, 100 + grown), *rotated)
    assert job.left_out() == []


@pytest.mark.parametrize("more", [0, 5])
def test_a_log_rotated_and_compressed_between_runs(job: EchoJob, more: int) -> None:
    log = write(job, "tracking.log", text(*COMMON))
    assert job.run() == 0
    append(log, *range(100, 100 + more))
    write(job, "tracking.log-2026.gz", log.read_bytes(), gzip.compress)
    log.write_bytes(text(*range(200, 230)))
    for _ in range(2):
        assert job.run() == 0
        assert delivered(job) == once(*COMMON, *range(100, 100 + more), *range(200, 230))


def test_a_damaged_copy_beside_the_log_is_said(job: EchoJob) -> None:
    whole = text(*COMMON, *range(100, 200))
    write(job, "tracking.log", whole)
    write(job, "tracking.log.1.gz", gzip.compress(whole, 0)[:20000])
    assert job.run() == 3
    assert delivered(job) == once(*COMMON, *range(100, 200))


STEPS = [*["append"] * 4, "clone", "copy", "shrink", "rotate", "compress", "copytruncate", *["run"] * 4]


class Generator:
    """Changes a folder of logs at random, and knows in how many logs each line is, or was."""

    def __init__(self, job: EchoJob, dice: random.Random) -> None:
        self.job = job
        self.dice = dice
        self.numbers = itertools.count()
        self.names = itertools.count()
        self.logs: Counter[int] = Counter()
        """Line -> in how many logs that are not copies of each other it is."""
        self.steps: list[str] = []

    def plain(self) -> list[Path]:
        return [path for path in sorted(self.job.logs.iterdir()) if path.suffix != ".gz"]

    def growing(self) -> list[Path]:
        return [path for path in self.plain() if path.name.endswith(".log")]

    def some_growing(self) -> Path:
        return self.dice.choice(self.growing() or [self.new()])

    def new(self) -> Path:
        path = self.job.logs / f"tracking.log-{next(self.names)}.log"
        path.touch()
        return path

    def append(self, path: Path | None = None) -> None:
        """Whole lines, now and then so few that the log is shorter than a fingerprint."""
        path = path or (self.new() if self.dice.random() < 0.1 else self.some_growing())
        for _ in range(self.dice.choice([1, 2, 12, 30])):
            number = next(self.numbers)
            append(path, number)
            self.logs[number] += 1

    def clone(self) -> None:
        """Another server begins with some of a log's lines, and goes on alone, now or later."""
        lines = self.some_growing().read_bytes().splitlines(keepends=True)
        path = self.new()
        self._count(lines := lines[: self.dice.randrange(len(lines) + 1)])
        path.write_bytes(b"".join(lines))
        if self.dice.random() < 0.7:
            self.append(path)

    def copy(self) -> None:
        """Of any log, to a name of its own; it does not grow any more."""
        paths = sorted(self.job.logs.iterdir())
        if paths:
            path = self.dice.choice(paths)
            shutil.copyfile(path, path.with_name(f"tracking.log-{next(self.names)}{path.suffix.replace('log', 'old')}"))

    def shrink(self) -> None:
        """A log is restored from a backup of some time ago; what it has lost was read or not."""
        path = self.some_growing()
        lines = path.read_bytes().splitlines(keepends=True)
        self._count(lines := lines[: self.dice.randrange(len(lines) + 1)])
        path.write_bytes(b"".join(lines))
        if self.dice.random() < 0.7:
            self.append(path)

    def _count(self, lines: list[bytes]) -> None:
        self.logs.update(numbers_in(b"".join(lines)))

    def rotate(self) -> None:
        path = self.some_growing()
        if path.stat().st_size:
            path.rename(path.with_suffix(f".{next(self.names)}"))

    def compress(self) -> None:
        """One that does not grow any more."""
        rotated = [path for path in self.plain() if not path.name.endswith(".log")]
        if rotated:
            path = self.dice.choice(rotated)
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    def copytruncate(self) -> None:
        """With a run between the two steps, or without."""
        path = self.some_growing()
        if path.stat().st_size:
            shutil.copyfile(path, path.with_suffix(f".{next(self.names)}"))
            if self.dice.random() < 0.5:
                self.run()
            path.write_bytes(b"")

    def run(self) -> None:
        """Some runs end early."""
        self.job.run(self.dice.choice([1, 3, 10, 10_000, 10_000]))
        tally.add("runs")

    def step(self) -> None:
        name = self.dice.choice(
            ["append"] * 4 + ["clone", "shrink", "rotate", "compress", "copytruncate"] + ["run"] * 4
        )
        self.steps.append(name)
        getattr(self, name)()


def numbers_in(content: bytes) -> list[int]:
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return [int(line.split(b'"n": ')[1].split(b"}")[0]) for line in content.splitlines()]


@pytest.mark.parametrize("part", range(4))
def test_of_random_logs_no_line_is_lost_and_none_comes_too_often(tmp_path: Path, part: int) -> None:
    """A line comes at least once from the logs that are there, and at most once from each log that has it.

    What is not read is in a log of which the job says so, and ends with status 3.
    """
    for number in range(part, ROUNDS, 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        generator = Generator(EchoJob(folder), random.Random(SEED + number))
        for _ in range(generator.dice.randrange(5, 25)):
            generator.step()
        job = generator.job
        statuses = [job.run() for _ in range(3)]
        tally.add("inputs")
        found, what = delivered(job), f"round {number}: {generator.steps}"
        left_out = job.left_out() if generator.plain() else []
        tally.same(3 if left_out else 0, statuses[-1], what)
        there = {
            line for path in job.logs.iterdir() if path.name not in left_out for line in numbers_in(path.read_bytes())
        }
        tally.same([], sorted(there - found.keys()), f"lost: {what}")
        too_often = {line: count for line, count in found.items() if count > generator.logs[line]}
        tally.same({}, too_often, f"too often: {what}")

"""All the bad input that there is, in one run: none of it ends the run, all of it is counted."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import check_sums
from tutor_transform_logs.demo.log_writer import Mix, write_log

ZEROS = 64 * 1024**2


def place_logs(folder: Path) -> dict[str, int]:
    """Write them; gives how many dead letters each reason is to have, and how many lines are good."""
    write_log(folder / "tracking.log", Mix(good=20), names=["play_video"], seed=9)
    [good, *_] = (folder / "tracking.log").read_bytes().splitlines()
    text = good[good.index(b"{") :]
    odd = [
        b"x" * 100_000_000,
        b'{"name": "play_video", "event": "\0"}',
        b'{"name": "play_video", "event": {}, "x": "\xff\xfe"}',
        b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
        b'{"name": "play_video", "event": {}, "n": ' + b"9" * 10_000 + b"}",
        text.replace(b'"play_video"', b'"play_video", "name": "/dashboard"', 1),
        text.replace(b'{"', b'{"surrogate": "\\ud800", "', 1),
        b"",
        b"{}",
    ]
    (folder / "tracking.log-odd").write_bytes(b"\n".join(odd) + b"\n")
    (folder / "tracking.log-bomb.gz").write_bytes(gzip.compress(b"\0" * ZEROS) + gzip.compress(b"\n" + text + b"\n"))
    whole = gzip.compress(b"".join(b'{"name": "/a", "event": %d, "pad": "%s"}\n' % (n, os.urandom(40).hex().encode())
                                   for n in range(2000)))  # fmt: skip
    (folder / "tracking.log-truncated.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "tracking.log-empty").touch()
    (folder / "tracking.log.d").mkdir()
    (folder / "tracking.log.d" / "a\nname").write_bytes(b"not an event\n")
    (folder / os.fsdecode(b"tracking.log-\xff")).write_bytes(b"neither\n")
    (folder / "tracking.log-gone").symlink_to("nowhere")
    (folder / "tracking.log-outside").symlink_to("/etc/passwd")
    return {"line_too_long": 2, "bad_json": 3, "not_utf8": 1, "no_event_field": 1, "no_json": 2}


@pytest.mark.parametrize("workers", [1, 2])
def test_all_of_it_is_counted(world: ForkedSite, workers: int) -> None:
    reasons = place_logs(world.logs)
    tally.add("inputs", 17)
    ran = world.run(workers=workers, max_line_bytes=1_000_000)
    # 3: one object could not be read to its end.
    tally.same(3, ran.status, ran.detail)
    assert "Traceback" not in ran.detail
    result = world.result()
    check_sums(result)
    tally.same(reasons, {name: result["reasons"].get(name, 0) for name in reasons}, "dead letters by reason")
    [problem] = result["problems"]
    assert "truncated gzip data" in problem
    assert "tracking.log-truncated.gz" in problem
    made = [json.loads(line) for line in world.output_lines()]
    assert {statement["verb"]["display"]["en"] for statement in made} == {"played"}
    # The 20, one with a lone surrogate, and the one behind the bomb; the last two are the first of the 20 again.
    tally.same(22, len(made), "statements of what is good among the bad")
    names = {obj["name"] for obj in result["objects"]}
    assert not {"tracking.log-gone", "tracking.log-outside"} & names
    assert "root:" not in ran.detail


def test_a_dead_letter_that_is_longer_than_a_line_may_be_is_tried_again(world: ForkedSite) -> None:
    """As JSON in JSON, a line of many special characters is several times as long."""
    write_log(world.logs / "tracking.log", Mix(good=3, unknown_user=1), names=["play_video"], seed=9)
    text = (world.logs / "tracking.log").read_bytes()
    (world.logs / "tracking.log").write_bytes(text.replace(b'"ghost', b'"\\u00e9' + b"\xc3\xa9" * 5000 + b"ghost"))
    tally.add("inputs")
    assert world.run(max_line_bytes=20_000).status == 0
    [before] = world.folder.rglob("dead-letters.jsonl")
    assert before.stat().st_size > 30_000
    ran = world.run(retry_failed=True, max_line_bytes=20_000)
    tally.same(0, ran.status, ran.detail)
    result = world.result()
    check_sums(result)
    tally.same({"unknown_user": 1}, result["reasons"], "what is not transformed this time either")


def test_memory_stays_bounded(world: ForkedSite) -> None:
    """Of the worst of it: the job may have less than the 64 MB that are zeros, the 100 MB that are one line."""
    write_log(world.logs / "tracking.log", Mix(good=20), seed=9)
    assert world.run().status == 0
    peaks = [peak_of(world, world.settings)]
    place_logs(world.logs)
    peaks.append(peak_of(world, {**world.settings, "max_line_bytes": 1_000_000}))
    tally.add("inputs")
    assert peaks[1] < peaks[0] + 60_000, f"peak memory in kB: {peaks}"


def peak_of(world: ForkedSite, settings: dict[str, object]) -> int:
    """The most memory, in kB, that a job of its own process had."""
    config = world.folder / "peak.json"
    config.write_text(json.dumps({**settings, "restart": True}))
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, '-m', 'tutor_transform_logs.lms_job', 'run', '--config', sys.argv[1]],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, config],
        env=world.lms.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)

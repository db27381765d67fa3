"""What is of one plan is never taken for another's, and who lost the lock writes nothing more."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tally
from tests.harness.faulty_store import faulty
from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun, Process
from tests.harness.locks import expired
from tests.harness.object_store import Bucket
from tests.harness.process import wait_for
from tests.harness.runs import check_sums
from tests.harness.site import files_below
from tutor_transform_logs.demo.log_writer import Mix, write_log

START, DAY = datetime(2026, 3, 1, tzinfo=timezone.utc), timedelta(days=1)
BATCHES = {"output_layout": "batches"}


def log(world: ForkedSite, name: str, number: int, good: int = 20) -> None:
    """A log of ``good`` events of a day of its own."""
    write_log(world.logs / name, Mix(good=good), names=["play_video"], start=START + number * DAY, seed=number)


def job_of(world: ForkedSite) -> Path:
    [job] = world.ledger.iterdir()
    return job


def delivered(world: ForkedSite) -> Counter[str]:
    """How often each statement was delivered, by its id."""
    return Counter(json.loads(line)["id"] for line in world.output_lines())


def assert_delivered_once(world: ForkedSite, events: int) -> None:
    found = delivered(world)
    tally.same(events, len(found), "statements that arrived")
    tally.same([], [id for id, times in found.items() if times > 1], "statements that arrived twice")


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in files_below(folder)}


def assert_refused_everywhere(world: ForkedSite, *text: str) -> None:
    """Every command says so in one line, and nothing of the output changes."""
    before = content_of(world.out)
    for command in ("run", "work", "report", "status", "verify"):
        ran = world.run(command=command)
        tally.add("faults")
        tally.same(1, ran.status, f"{command}: {ran.detail}")
        [line] = [line for line in ran.stderr.splitlines() if text[0] in line]
        for part in (*text, "restore the plan.json of plan 0002", "--restart"):
            assert part in line, command
        assert "Traceback" not in ran.detail
    tally.same(before, content_of(world.out), "the output")


def test_a_plan_that_was_set_back_is_refused_and_its_successors_work_is_not_used(world: ForkedSite) -> None:
    log(world, "a.log", 1)
    assert world.run().status == 0
    plan = job_of(world) / "plan.json"
    backup = plan.read_bytes()
    log(world, "b.log", 2)
    assert world.run().status == 0
    plan.write_bytes(backup)
    log(world, "a-more.log", 3)
    assert_refused_everywhere(world, f"{plan} is of plan 0001, but the ledger has files of plan 0002")
    assert "is of plan 0001, but" in " ".join(world.run(command="check").stdout.split())
    restarted = world.run(restart=True)
    tally.same(0, restarted.status, restarted.detail)
    tally.same(3, json.loads(plan.read_text())["number"], "the new plan's number")
    tally.same(60, len(delivered(world)), "statements")
    tally.same(0, world.run(command="verify").status, "verified")


def test_a_plan_that_was_set_back_to_what_it_was_before_it_was_finished(world: ForkedSite) -> None:
    log(world, "a.log", 1)
    assert world.run(BATCHES, steps={"label": "entry write: after", "number": 2}).status == -9
    plan = job_of(world) / "plan.json"
    backup = plan.read_bytes()
    assert world.run(BATCHES).status == 0
    plan.write_bytes(backup)
    log(world, "b.log", 2)
    ran = world.run(BATCHES)
    tally.same(0, ran.status, ran.detail)
    assert_delivered_once(world, 40)
    tally.same(0, world.run(BATCHES, command="verify").status, "verified")


@pytest.mark.parametrize("label", ["plan write: after", "job write: before", "job write: half", "job write: after"])
def test_a_restart_that_was_killed_before_it_was_noted_is_a_restart(world: ForkedSite, label: str) -> None:
    """What was delivered before it no longer counts, whoever makes the plan and whoever resumes it."""
    log(world, "a.log", 1)
    tally.same(0, world.run(BATCHES).status, "the first run")
    tally.same(-9, world.run(BATCHES, restart=True, steps={"label": label, "number": 1}).status, "killed")
    tally.add("kills")
    resumed = world.run(BATCHES)
    tally.same(0, resumed.status, resumed.detail)
    tally.same(2, json.loads((job_of(world) / "job.json").read_text())["first_plan"], "the first plan")
    tally.same({2}, set(delivered(world).values()), "how often each statement was delivered")
    for path in world.outputs_on_disk():
        if "-0002-" in path.name:
            path.unlink()
    verified = world.run(BATCHES, command="verify")
    tally.same(3, verified.status, verified.detail)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("moment", ["half", "after"])
def test_a_repair_that_was_killed_before_it_had_its_plan_is_in_nobodys_way(
    world: ForkedSite, moment: str, number: int
) -> None:
    """It saves the lines that are to be sent again below the number that its plan will have."""
    log(world, "a.log", 1)
    assert world.run().status == 0
    [output] = world.outputs_on_disk()
    output.write_bytes(b"".join(output.read_bytes().splitlines(keepends=True)[3:]))
    for _ in range(number):
        steps = {"label": f"missing lines write: {moment}", "number": 1}
        killed = world.run(command="verify", repair=True, steps=steps)
        tally.same(-9, killed.status, killed.detail)
    log(world, "b.log", 2)
    tally.same(0, world.run().status, "the next plan")
    repaired = world.run(command="verify", repair=True)
    tally.same(0, repaired.status, repaired.detail)
    assert_delivered_once(world, 40)


@pytest.mark.parametrize("layout", ["batches", "single"])
def test_a_ledger_that_was_set_back_replaces_nothing_that_is_delivered(world: ForkedSite, layout: str) -> None:
    """The plan after the backup has the number of one that it knows nothing of, whose files are in the destination."""
    settings = {"output_layout": layout}
    log(world, "a.log", 1)
    assert world.run(settings).status == 0
    shutil.copytree(world.ledger, world.folder / "backup")
    log(world, "b.log", 2)
    # In layout single, its parts are what another plan could replace.
    stop = {"label": "entry write: after", "number": 2} if layout == "single" else None
    assert world.run(settings, steps=stop).status == (-9 if stop else 0)
    before = content_of(world.out)
    shutil.rmtree(world.ledger)
    (world.folder / "backup").rename(world.ledger)
    log(world, "a-first.log", 3)
    ran = world.run(settings)
    tally.same(0, ran.status, ran.detail)
    after = content_of(world.out)
    tally.same(before, {path: after.get(path, b"") for path in before}, "what was there before")
    tally.same(60, len(delivered(world)), "statements")


@pytest.mark.parametrize("name", ["0001/000001.files.json", "0001/joining.json"])
def test_what_is_of_another_plan_is_an_error(world: ForkedSite, name: str) -> None:
    log(world, "a.log", 1)
    step = "joining write: after" if "joining" in name else "entry write: after"
    assert world.run(steps={"label": step, "number": 1}).status == -9
    path = job_of(world) / name
    values = json.loads(path.read_text())
    tally.same(json.loads((job_of(world) / "plan.json").read_text())["uuid"], values["plan"], "the plan's uuid")
    path.write_text(json.dumps(values | {"plan": "f" * 32}))
    text = f"The ledger {path} is of another plan 0001 than {job_of(world) / 'plan.json'}: "
    if "joining" in name:
        before = content_of(world.out)
        ran = world.run()
        tally.same(1, ran.status, ran.detail)
        assert text in ran.detail
        tally.same(before, content_of(world.out), "the output")
    else:
        before = content_of(world.out)
        for command in ("run", "status", "report"):
            ran = world.run(command=command)
            tally.add("faults")
            tally.same(1, ran.status, f"{command}: {ran.detail}")
            assert text in ran.detail
        tally.same(before, content_of(world.out), "the output")
    restarted = world.run(restart=True)
    tally.same(0, restarted.status, restarted.detail)
    check_sums(world.result())


@pytest.mark.parametrize("layout", ["batches", "single"])
def test_a_batch_that_is_delivered_again_keeps_its_name(world: ForkedSite, layout: str) -> None:
    log(world, "a.log", 1)
    label = "batch file write: after" if layout == "batches" else "part write: after"
    killed = world.run(output_layout=layout, steps={"label": label, "number": 3})
    tally.same(-9, killed.status, killed.detail)
    before = {path: content for path, content in content_of(world.out).items() if not path.name.startswith(".")}
    tally.same(3, len(before), "batches")
    resumed = world.run(output_layout=layout, steps={"label": label, "number": 1})
    tally.same(-9, resumed.status, resumed.detail)
    tally.same(before, content_of(world.out), "the same batch, written again")
    assert world.run(output_layout=layout).status == 0
    assert_delivered_once(world, 20)


# Runs that lose their lock.


def suspended(world: ForkedSite, *settings: dict[str, Any], label: str, number: int = 1) -> Process:
    """A run that is stopped at this step, as SIGSTOP or a laptop's lid does."""
    steps = {"label": label, "number": number, "signal": "SIGSTOP", "sure_secs": -1.0}
    process = world.start(*settings, steps=steps)
    state = Path(f"/proc/{process.pid}/stat")
    wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    return process


def awake(process: Process) -> JobRun:
    os.kill(process.pid, signal.SIGCONT)
    return process.wait()


def expire_locks(bucket: Bucket) -> None:
    """Set the last heartbeats back to what they were if the run slept as long as that."""
    [name] = [key for key in bucket.keys("ledger/") if "/lock" in key]
    bucket.put(name, expired(bucket.get(name)))


def in_store(bucket: Bucket) -> dict[str, bytes]:
    return {key: bucket.get(key) for key in bucket.keys("ledger/")}


SLEEPS = ["save plan: before", "batch: before", "deliver: after", "joining write: before", "finish plan: before"]


@pytest.mark.parametrize("label", SLEEPS)
def test_who_slept_while_another_did_the_work_writes_nothing_more(
    world: ForkedSite, nanio_bucket: Bucket, label: str
) -> None:
    world.in_bucket(nanio_bucket, "ledger")
    log(world, "a.log", 1)
    sleeper = suspended(world, label=label, number=2 if label in ("batch: before", "deliver: after") else 1)
    expire_locks(nanio_bucket)
    tally.same(0, world.run(batch_size=4, steps={"watch_secs": 0.1}).status, "the other run")
    log(world, "b.log", 2)
    tally.same(0, world.run().status, "the next one")
    before, output = in_store(nanio_bucket), content_of(world.out)
    ran = awake(sleeper)
    tally.add("faults")
    tally.same(4, ran.status, ran.detail)
    assert "This run no longer holds the lock of its job (" in ran.stderr
    tally.same(before, in_store(nanio_bucket), "the ledger")
    tally.same(output, content_of(world.out), "the output")
    log(world, "c.log", 3)
    tally.same(0, world.run().status, "the last one")
    assert_delivered_once(world, 60)


def test_a_store_with_conditions_refuses_the_plan_of_who_slept_within_the_write(
    world: ForkedSite, moto_bucket: Bucket
) -> None:
    """Suspended with half of the plan sent: no question that is asked before can help."""
    world.in_bucket(moto_bucket, "ledger")
    log(world, "a.log", 1)
    sleeper = suspended(world, label="PUT plan: half", number=2)
    expire_locks(moto_bucket)
    tally.same(0, world.run(batch_size=4, steps={"watch_secs": 0.1}).status, "the other run")
    log(world, "b.log", 2)
    tally.same(0, world.run().status, "the next one")
    before = in_store(moto_bucket)
    ran = awake(sleeper)
    tally.same(4, ran.status, ran.detail)
    assert "This run no longer holds the lock of its job (" in ran.stderr
    tally.same(before, in_store(moto_bucket), "the ledger")
    assert_delivered_once(world, 40)


def delete_lock(world: ForkedSite, bucket: Bucket | None) -> None:
    if bucket is None:
        (job_of(world) / "lock").unlink()
        return
    for key in bucket.keys("ledger/"):
        if "/lock" in key:
            bucket.store.client().delete_object(Bucket=bucket.name, Key=key)


@pytest.mark.parametrize("where", ["local", "nanio"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_lock_is_a_lost_lock(
    world: ForkedSite, request: pytest.FixtureRequest, where: str, workers: int
) -> None:
    bucket: Bucket | None = request.getfixturevalue("nanio_bucket") if where == "nanio" else None
    if bucket:
        world.in_bucket(bucket, "ledger")
    log(world, "a.log", 1)
    log(world, "b.log", 2)
    settings = {"workers": workers}
    if workers == 1:
        process = suspended(world, settings, label="entry write: after", number=2)
        delete_lock(world, bucket)
        ran = awake(process)
    else:
        # The lock goes before the workers are there.
        process = suspended(world, settings, label="job write: after")
        delete_lock(world, bucket)
        ran = awake(process)
    tally.add("faults")
    tally.same(4, ran.status, ran.detail)
    assert "This run no longer holds the lock of its job (" in ran.detail
    plan = json.loads(
        next(value for key, value in in_store(bucket).items() if key.endswith("plan.json"))
        if bucket
        else (job_of(world) / "plan.json").read_bytes()
    )
    assert not plan["finished"]
    resumed = world.run(settings)
    tally.same(0, resumed.status, resumed.detail)
    assert_delivered_once(world, 40)


def slowly(seed: int) -> Callable[[int, str], float | None]:
    """Writes of the lock, the plan and the entries take their time, each another one."""
    times = random.Random(seed)

    def fault(_: int, line: str) -> float | None:
        return times.uniform(0.0, 0.8) if line.startswith("PUT") else None

    return fault


@pytest.mark.parametrize("seed", range(12 if tally.LONG else 3))
def test_of_two_that_start_at_once_one_runs(world: ForkedSite, nanio_bucket: Bucket, seed: int) -> None:
    """With other workers and other segments, so that their plans differ."""
    log(world, "a.log", 2 * seed + 1, good=60)
    log(world, "b.log", 2 * seed + 2, good=60)
    world.in_bucket(nanio_bucket, "ledger")
    with faulty(nanio_bucket, slowly(seed)) as (bucket, proxy):
        world.settings |= bucket.settings("ledger", prefix="ledger/") | BATCHES
        first = world.start(workers=1, batch_size=40)
        second = world.start(workers=2, segment_bytes=65536, batch_size=20)
        runs = [first.wait(), second.wait()]
        tally.add("faults", proxy.faults)
    done, refused = sorted(runs, key=lambda run: run.status)
    tally.same([0, 1], [done.status, refused.status], done.detail + refused.detail)
    assert "This job is already running (pid " in refused.stderr
    assert_delivered_once(world, 120)
    world.in_bucket(nanio_bucket, "ledger")
    again = world.run()
    assert again.stdout.startswith("Nothing new"), again.detail
    tally.same(0, world.run(command="verify").status, "verified")

"""What a killed job leaves in the folder for temporary files: nothing, whatever it was writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import tally
from tests.harness.forked_site import ForkedSite
from tests.harness.kills import steps_of
from tests.harness.object_store import Bucket
from tutor_transform_logs.demo.log_writer import Mix, write_log


@pytest.fixture
def stored(world: ForkedSite, nanio_bucket: Bucket) -> ForkedSite:
    """A job whose logs, output and ledger are in an object store."""
    write_log(world.logs / "tracking.log", Mix(good=30, unknown_user=2), names=["play_video"], seed=6)
    world.in_bucket(nanio_bucket, "source", "destination", "ledger")
    return world


def left_by(world: ForkedSite, label: str, number: int, **more: object) -> list[str]:
    """What is in the folder for temporary files after a SIGKILL there."""
    folder = world.folder / f"tmp-{label}-{number}".replace(" ", "-").replace(":", "")
    folder.mkdir()
    steps = {"label": label, "number": number, "group": True}
    killed = world.run(steps=steps, environment={"TMPDIR": str(folder)}, **more)
    tally.add("faults")
    tally.same(-9, killed.status, f"{label}: {killed.detail}")
    return sorted(path.name for path in folder.rglob("*"))


def test_uploads_leave_nothing(stored: ForkedSite, nanio_bucket: Bucket, tmp_path: Path) -> None:
    labels = steps_of(stored, ["PUT plan: half", "PUT dead batch: half", "PUT part: half", "PUT result: half"])
    uploads = sorted({label for label in labels if label.startswith("PUT ") and label.endswith(": half")})
    assert len(uploads) > 6
    for label in uploads:
        tally.same([], left_by(stored, label, 1, restart=True), label)
    ran = stored.run()
    tally.same(0, ran.status, ran.detail)


@pytest.mark.parametrize("more", [{}, {"repair": True}], ids=str)
def test_a_verification_leaves_nothing(stored: ForkedSite, more: dict[str, object]) -> None:
    tally.same(0, stored.run().status, "the run")
    tally.same([], left_by(stored, "source read: after", 2, command="verify", **more), "verify")

"""Ledgers and dead letters of earlier versions are resumed and redelivered as if this version had written them.

``tests/data/ledger-vN`` was written by the last commit with version N: plan 0001 is finished and has four dead letters
of unknown users; plan 0002 was stopped by SIGTERM after five batches of five events and has two batches with dead
letters.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import event_routing_backends
import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.runs import statements
from tests.harness.site import statement_files
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.ledger.ledger import job_identity, job_key
from tutor_transform_logs.lms_job.ledger.versions import VERSION, upgraded
from tutor_transform_logs.lms_job.model.plan import LOOK_AGAIN, OUT_OF_RANGE, Plan

FIXTURES = Path(__file__).parents[1] / "data"
VERSIONS = range(1, VERSION)
EVENTS = 10 + 60
DEAD_LETTERS = 4 + 3 + 2


def moved_to(site: ForkedSite, version: int) -> None:
    """Put the ledger of this version where ``site`` is: a job's key follows from the place of its source."""
    config = {**site.source(), **site.to_files()}
    key = job_key(job_identity(load(config)))
    fixture = FIXTURES / f"ledger-v{version}"
    [old_key] = (path.name for path in (fixture / "ledger").iterdir())
    for name in ("logs", "out", "ledger"):
        shutil.copytree(fixture / name, site.folder / name, dirs_exist_ok=True)
    for path in sorted(site.folder.rglob(f"*{old_key}*"), reverse=True):
        path.rename(path.with_name(path.name.replace(old_key, key)))
    # Since version 3, the job's key is in the names of output files.
    for path in site.ledger.rglob("joining.json"):
        path.write_text(path.read_text().replace(old_key, key))


@pytest.fixture(params=VERSIONS)
def old(site: ForkedSite, request: pytest.FixtureRequest) -> ForkedSite:
    moved_to(site, request.param)
    return site


def ids(site: ForkedSite) -> list[str]:
    return sorted(row["id"] for text in statement_files(site.output()).values() for row in statements(text))


def test_an_unfinished_plan_is_resumed(old: ForkedSite) -> None:
    run = old.run(old.source(), old.to_files(), batch_size=5)
    assert run.status == 0, run.stderr
    assert "Resuming plan 0002" in run.stderr
    assert len(ids(old)) == len(set(ids(old))) == EVENTS
    assert not [name for name in old.output() if ".parts-" in name]
    [plan] = old.folder.glob("ledger/*/plan.json")
    assert json.loads(plan.read_text())["version"] == VERSION
    again = old.run(old.source(), old.to_files())
    assert "Nothing new" in again.stdout


def test_old_dead_letters_are_redelivered(old: ForkedSite) -> None:
    assert old.run(old.source(), old.to_files(), batch_size=5).status == 0
    found = {path: path.read_text() for path in old.folder.glob("ledger/*/*/dead-letters.jsonl")}
    assert len([line for text in found.values() for line in text.splitlines()]) == DEAD_LETTERS
    run = old.run(old.source(), old.to_files(), retry_failed=True)
    # Still unknown users: the same dead letters, in the new form.
    letters = run.dead_letters()
    assert len(letters) == DEAD_LETTERS
    assert all(letter["detail"] and "words" not in letter for letter in letters)


def test_the_ledger_of_an_old_version_is_verified(old: ForkedSite) -> None:
    assert old.run(old.source(), old.to_files(), batch_size=5).status == 0
    verified = old.run(old.source(), old.to_files(), command="verify")
    counts = {
        name: int(found) for name, found in re.findall(r"^ +(found|missing|different) +(\d+)", verified.stdout, re.M)
    }
    if event_routing_backends.__version__.startswith("9."):
        assert (verified.status, counts) == (0, {"found": EVENTS, "missing": 0}), verified.detail
    else:
        # Each statement names the version of ERB that made it: those of the fixture are of another one.
        assert (verified.status, counts["missing"], counts["found"] + counts["different"]) == (3, 0, EVENTS)


def test_a_later_version_is_refused(old: ForkedSite) -> None:
    [plan] = old.folder.glob("ledger/*/plan.json")
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "version": VERSION + 1}))
    run = old.run(old.source(), old.to_files())
    assert run.status == 1
    text = f"has the format {VERSION + 1}, and this release of the plugin reads formats up to {VERSION}"
    assert text in run.stderr


def test_the_notes_of_an_old_plan_keep_their_effect() -> None:
    [path] = FIXTURES.glob("ledger-v1/ledger/*/plan.json")
    plan = json.loads(path.read_text())
    texts = (
        "by its name's date outside since and until: not opened",
        "begins like another compressed object in this plan: looked at again in the next run",
    )
    plan["objects"] = [{"name": "a", "size": 1, "content": None, "note": text} for text in texts]
    assert [obj.note for obj in Plan.from_json(upgraded(plan)).objects] == [OUT_OF_RANGE, LOOK_AGAIN]

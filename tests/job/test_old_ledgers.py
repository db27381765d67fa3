"""A ledger and dead letters of an earlier version are resumed and redelivered as if this version had written them.

``tests/data/ledger-v1`` was written by the release before version 2: plan 0001 is finished and has four dead letters of
unknown users; plan 0002 was stopped by SIGTERM after five batches of five events and has two dead letters.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.runs import statements
from tests.harness.site import statement_files
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.ledger.ledger import job_identity, job_key
from tutor_transform_logs.lms_job.ledger.versions import upgraded
from tutor_transform_logs.lms_job.model.plan import LOOK_AGAIN, OUT_OF_RANGE, Plan

FIXTURE = Path(__file__).parents[1] / "data/ledger-v1"
OLD_KEY = "79dfc5e11e71"
EVENTS = 10 + 60
DEAD_LETTERS = 4 + 3 + 2


def moved_to(site: ForkedSite) -> None:
    """Put the fixture where ``site`` is: a job's key follows from the place of its source."""
    config = {**site.source(), **site.to_files()}
    key = job_key(job_identity(load(config)))
    for name in ("logs", "out", "ledger"):
        shutil.copytree(FIXTURE / name, site.folder / name, dirs_exist_ok=True)
    for path in sorted(site.folder.rglob(f"*{OLD_KEY}*"), reverse=True):
        path.rename(path.with_name(path.name.replace(OLD_KEY, key)))


@pytest.fixture
def old(site: ForkedSite) -> ForkedSite:
    moved_to(site)
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
    assert json.loads(plan.read_text())["version"] == 2
    again = old.run(old.source(), old.to_files())
    assert "Nothing new" in again.stdout


def test_old_dead_letters_are_redelivered(old: ForkedSite) -> None:
    assert old.run(old.source(), old.to_files(), batch_size=5).status == 0
    found = {path: path.read_text() for path in old.folder.glob("ledger/*/*/dead-letters.jsonl")}
    assert len([line for text in found.values() for line in text.splitlines()]) == DEAD_LETTERS
    assert any('"words"' in text for text in found.values())
    run = old.run(old.source(), old.to_files(), retry_failed=True)
    # Still unknown users: the same dead letters, in the new form.
    letters = run.dead_letters()
    assert len(letters) == DEAD_LETTERS
    assert all(letter["detail"] and "words" not in letter for letter in letters)


def test_a_later_version_is_refused(old: ForkedSite) -> None:
    [plan] = old.folder.glob("ledger/*/plan.json")
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "version": 3}))
    run = old.run(old.source(), old.to_files())
    assert run.status == 1
    assert "has the format 3, and this release of the plugin reads formats up to 2" in run.stderr


def test_the_notes_of_an_old_plan_keep_their_effect(old: ForkedSite) -> None:
    [path] = old.folder.glob("ledger/*/plan.json")
    plan = json.loads(path.read_text())
    texts = (
        "by its name's date outside since and until: not opened",
        "begins like another compressed object in this plan: looked at again in the next run",
    )
    plan["objects"] = [{"name": "a", "size": 1, "content": None, "note": text} for text in texts]
    assert [obj.note for obj in Plan.from_json(upgraded(plan)).objects] == [OUT_OF_RANGE, LOOK_AGAIN]

"""The work shared out, as to the pods of a Kubernetes Job: each part once, and none much longer than the others."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.harness.forked_site import ForkedSite
from tests.harness.job import JobRun
from tests.harness.runs import statements
from tests.harness.site import statement_files
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.lms_job.model.plan import Segment, cut_points, segments_of_share

PODS, OBJECTS = 64, 1000


def segments_of(sizes: list[int], compressed: list[bool], most: int) -> list[Segment]:
    """As PLAN cuts objects of these sizes."""
    found: list[Segment] = []
    for number, (size, whole) in enumerate(zip(sizes, compressed, strict=True)):
        bounds = [0, *([] if whole else cut_points(0, size, most)), size]
        for start, end in zip(bounds, bounds[1:], strict=False):
            segment_id = len(found) + 1
            found.append(
                Segment(segment_id, number, f"log-{number}", start, None if whole else end, end - start, "gzip" * whole)
            )
    return found


@pytest.mark.parametrize("some_compressed", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_objects_and_64_pods(seed: int, some_compressed: bool) -> None:
    """Sizes as sites have them: most logs are small, a few are huge."""
    dice = random.Random(seed)
    sizes = [max(1, int(dice.lognormvariate(17.5, 1.5))) for _ in range(OBJECTS)]
    compressed = [some_compressed and dice.random() < 1 / 3 for _ in sizes]
    segments = segments_of(sizes, compressed, BY_KEY["segment_bytes"].default)
    shares = [segments_of_share(segments, index, PODS) for index in range(PODS)]
    assert sorted(segment.id for part in shares for segment in part) == [segment.id for segment in segments]
    loads = [sum(segment.stored_bytes for segment in part) for part in shares]
    mean = sum(sizes) / PODS
    # A compressed log is one piece, however long it takes.
    allowed = max(segment.stored_bytes for segment in segments) if some_compressed else 0
    assert max(loads) <= max(1.2 * mean, allowed)


def phase(site: ForkedSite, name: str, *arguments: str) -> JobRun:
    config = {**site.source(), **site.to_files(), "batch_size": 200}
    return site.run(config, command=name, arguments=arguments)


def test_the_phases_one_by_one_do_what_a_run_does(site: ForkedSite) -> None:
    log = site.log(Mix(good=3000, page_view=3000, broken=3))
    assert log.path.stat().st_size > 4_000_000
    planned = phase(site, "plan", "--share", "0/2")
    assert planned.status == 0, planned.stderr
    [path] = site.folder.glob("ledger/*/plan.json")
    # One plain log is cut so that both have some of it.
    assert len(json.loads(path.read_text())["segments"]) >= 4
    for index, status in enumerate([4, 0]):
        assert phase(site, "work", "--share", f"{index}/2").status == 0
        assert phase(site, "report").status == status
    [content] = statement_files(site.output()).values()
    ids = [statement["id"] for statement in statements(content)]
    assert len(ids) == len(set(ids)) == log.xapi.statements


def test_a_report_of_a_plan_with_nothing_new_keeps_the_earlier_result(site: ForkedSite) -> None:
    site.log(Mix(good=20, broken=1))
    for name in ("plan", "work", "report"):
        assert phase(site, name).status == 0
    [ledger] = site.ledger.iterdir()
    before = files_with_content(ledger / "0001")
    for name in ("plan", "work", "report"):
        ran = phase(site, name)
        assert ran.status == 0, ran.detail
    assert files_with_content(ledger / "0001") == before
    assert "The last plan found nothing new. The result of plan 0001 stays as it is." in ran.stdout
    assert f"{ledger}/0001/result.json" in ran.stdout
    assert "accounted for" not in ran.stdout


def test_a_report_of_a_plan_without_work_and_without_an_earlier_one_says_so(site: ForkedSite) -> None:
    site.place("tracking.log", b"")
    for name in ("plan", "report"):
        ran = phase(site, name)
        assert ran.status == 0, ran.detail
    assert ran.stdout.strip() == "The last plan found nothing new."
    assert not list(site.ledger.rglob("result.json"))


def test_a_second_report_of_a_finished_plan_is_as_the_first(site: ForkedSite) -> None:
    site.log(Mix(good=20, broken=1))
    for name in ("plan", "work", "report"):
        ran = phase(site, name)
    before = ran.result
    again = phase(site, "report")
    assert again.stdout == ran.stdout
    # When it was reported is another second sometimes.
    assert before is not None
    assert again.result is not None
    assert again.result == before | {"reported": again.result["reported"]}


def files_with_content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

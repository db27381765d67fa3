"""Where the job's files are on the host, for the end of a run."""

from __future__ import annotations

import pytest

from tutor_transform_logs.lms_job.report.host_paths import HOST_DATA, host_path

PLACES = {
    "/openedx/data/transform-logs/x/report.html": "/srv/tutor/data/lms/transform-logs/x/report.html",
    "/openedx/database/report.html": "/openedx/database/report.html",
    "/openedx/data": "/openedx/data",
    "s3://bucket/openedx/data/x": "s3://bucket/openedx/data/x",
    "/mnt/openedx/data/x": "/mnt/openedx/data/x",
}


@pytest.mark.parametrize(("place", "on_host"), PLACES.items())
@pytest.mark.parametrize("end", ["", "/"])
def test_what_is_mounted_is_named_as_on_the_host(
    monkeypatch: pytest.MonkeyPatch, place: str, on_host: str, end: str
) -> None:
    monkeypatch.setenv(HOST_DATA, f"/srv/tutor/data/lms{end}")
    assert host_path(place) == on_host


@pytest.mark.parametrize("place", PLACES)
def test_without_a_host_nothing_changes(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.delenv(HOST_DATA, raising=False)
    assert host_path(place) == place
    monkeypatch.setenv(HOST_DATA, "")
    assert host_path(place) == place

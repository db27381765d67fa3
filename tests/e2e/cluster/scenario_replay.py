"""``tutor k8s do transform-tracking-logs`` on a cluster: whatever happens to pods, all is there once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cluster.site import KubernetesSite

Say = Callable[..., None]
MakeSite = Callable[..., KubernetesSite]

# By pods: the statements must be the same, however many do the work.
made: dict[int, dict[str, Any]] = {}


@pytest.mark.parametrize("pods", [1, 8])
def test_any_number_of_pods(new_site: MakeSite, found: Say, pods: int) -> None:
    site = new_site()
    for number in range(16):
        site.log_of_day(number)
    site.save(**site.settings(pods))

    output = site.replay()

    assert "Every line and every statement is accounted for." in output
    site.assert_all_there()
    made[pods] = site.statements()
    assert all(stored == made[pods] for stored in made.values())
    assert site.phases() == ["plan", "work", "report"]
    [work] = site.items("jobs", "work")
    assert work["status"]["succeeded"] == len(site.items("pods", "work")) == pods
    assert site.secret_keys("transform-logs-run") == []
    again = site.replay()
    assert "Nothing new in 16 objects" in again
    found("16 logs, and nothing new in them when it is run again")

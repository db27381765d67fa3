"""A site whose jobs are pods: its logs are in a bucket, and what it makes goes to an LRS or a bucket."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from tests.harness.cluster import Cluster
from tests.harness.demo_lms import DemoLms
from tests.harness.mariadb import MariaDb
from tests.harness.object_store import Bucket
from tests.harness.ralph import Lrs
from tests.harness.tutor_site import Done, TutorSite
from tutor_transform_logs.demo.log_writer import LOG_START, BigLog, Mix


def new_lms_database(server: MariaDb) -> dict[str, Any]:
    """Make a database with people and courses; gives Tutor's settings for it."""
    databases = server.new_database()
    DemoLms(databases=databases).set_up(users=6, courses=5)
    default = databases["default"]
    return {
        "MYSQL_HOST": default["HOST"],
        "MYSQL_PORT": default["PORT"],
        "OPENEDX_MYSQL_DATABASE": default["NAME"],
        "OPENEDX_MYSQL_USERNAME": default["USER"],
    }


@dataclass(kw_only=True)
class PodSite(TutorSite):
    """A site whose jobs are pods."""

    MODE: ClassVar[str] = "k8s"

    bucket: Bucket
    lrs: Lrs

    def placed(self, path: Path) -> None:
        self.bucket.put(f"logs/{path.name}", path)

    def log_of_day(self, number: int, good: int = 12) -> BigLog:
        """Write the log of a day; no two days have a statement in common."""
        mix, start = Mix(good=good, page_view=10, broken=1), LOG_START + timedelta(days=number)
        return self.log(mix, name=f"tracking.log-{number}", seed=number, start=start)

    def settings(self, pods: int, destination: dict[str, Any] | None = None) -> dict[str, Any]:
        """The settings of a run."""
        values = self.bucket.settings("source", prefix="logs/")
        values["lrs_endpoints"] = [self.lrs.endpoint]
        values |= {"batch_size": 4, "lrs_max_wait_secs": 5, "k8s_pods": pods, **(destination or {})}
        return {f"TRANSFORM_LOGS_{key.upper()}": value for key, value in values.items()}

    def statements(self) -> dict[str, Any]:
        """What the LRS has, by id, without what it adds itself."""
        found = self.lrs.statements()
        added = ("stored", "authority")
        own = [{key: value for key, value in statement.items() if key not in added} for statement in found]
        by_id = {statement["id"]: statement for statement in own}
        assert len(by_id) == len(own)
        return by_id


@dataclass(kw_only=True)
class ClusterSite(PodSite):
    """A site on the stand-in for a cluster."""

    cluster: Cluster

    def finish(self, process: subprocess.Popen[str], timeout_secs: float = 180) -> Done:
        try:
            return super().finish(process, timeout_secs)
        finally:
            self.cluster.check()

    def still_running(self) -> str:
        logs = "\n".join(pod.sandbox.log()[-1500:] for job in self.cluster.jobs for pod in job.running())
        return f"running pods:\n{logs}"

"""How many rows a ClickHouse table has on the days of a report."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date

from ..config.schema import JobConfig
from ..deliver.table_days import count_months
from ..deliver.tables import open_table
from ..model.activity import Activity
from ..util.errors import JobError
from .charts import days_of

# The report can do without: it does not wait longer for a query, nor for all of them.
QUERY_SECS, TOTAL_SECS = 20.0, 60.0


def rows_by_day(config: JobConfig, activity: Activity) -> dict[date, int] | None:
    """Day (UTC) -> rows of the table that the job delivers to, from the first to the last day of ``activity``.

    ``None`` if there is no such table, if the job delivers a choice of events that the table does not know, or if
    ClickHouse does not answer in time.
    """
    days = days_of(activity.days)
    chosen = config.event or config.exclude_event or config.course or config.org
    if config.clickhouse is None or config.dry_run or chosen or days is None:
        return None
    brief = replace(config, lrs_timeout_secs=min(config.lrs_timeout_secs, QUERY_SECS), lrs_max_wait_secs=0.0)
    rows: dict[date, int] = {}
    deadline = time.monotonic() + TOTAL_SECS
    try:
        table = open_table(brief, config.clickhouse)
        for month in count_months(table, days.first, days.last, config.since, config.until):
            rows.update(month)
            if time.monotonic() > deadline:
                return None
    except JobError:
        return None
    return rows

"""Records of the statements' loggers: made with less work than ``logger.info()`` takes, and the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from tutor_transform_logs.lms_job.deliver.loggers import StatementLogger
from tutor_transform_logs.lms_job.model.delivery import SourcedStatement
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement

MADE = [
    SourcedStatement(
        Statement(str(number), f'{{"id": "{number}"}}'.encode()), Event("x", {}), Line(0, 0, number, b""), None
    )
    for number in range(3)
]


class Keeper(logging.Handler):
    """Keeps the records, and adds to each what a formatter and a filter add."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.before: list[set[str]] = []

    def handle(self, record: logging.LogRecord) -> bool:
        self.before.append(set(vars(record)))
        record.userid = "somebody"
        self.format(record)
        self.records.append(record)
        return True


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    logger = logging.getLogger("xapi_tracking")
    level, keeper = logger.level, Keeper()
    logger.setLevel(logging.INFO)
    logger.addHandler(keeper)
    yield keeper
    logger.removeHandler(keeper)
    logger.setLevel(level)


def test_records_are_those_that_the_logger_makes_itself(keeper: Keeper) -> None:
    began = time.time()
    StatementLogger("xapi", True).write(MADE)
    logging.getLogger("xapi_tracking").info("the same")
    *records, usual = keeper.records
    assert [record.getMessage() for record in records] == [made.statement.body.decode() for made in MADE]
    assert len({frozenset(names) for names in keeper.before}) == 1, "what was added to one is in the next"
    for record in records:
        assert type(record) is logging.LogRecord
        for name in ("name", "levelno", "levelname", "process", "processName", "thread", "threadName", "args"):
            assert getattr(record, name) == getattr(usual, name)
        assert record.module == "loggers"
        assert began <= record.created <= usual.created
        assert 0 <= record.msecs < 1000
        assert record.msecs == pytest.approx(record.created % 1 * 1000, abs=1.1)
        # Both count from the start of the same process.
        assert record.relativeCreated - usual.relativeCreated == pytest.approx(
            (record.created - usual.created) * 1000, abs=0.01
        )
    created = [record.created for record in records]
    assert created == sorted(created)


def test_records_of_a_factory_of_the_sites_own(keeper: Keeper) -> None:
    numbers = iter(range(10))

    def make(*args: object, **kwargs: object) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)  # type: ignore[arg-type]  # handed on as they are
        record.number = next(numbers)
        return record

    logging.setLogRecordFactory(make)
    try:
        StatementLogger("xapi", True).write(MADE)
    finally:
        logging.setLogRecordFactory(logging.LogRecord)
    assert [getattr(record, "number", None) for record in keeper.records] == [0, 1, 2]

"""``--check``: says for each part of a run if it is ready, and what to do if it is not. Changes nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from django.db import Error as DatabaseError
from django.db import connections, router

from ..config.schema import JobConfig, StorageConfig
from ..config.validators import ConfigError
from ..deliver import dashboards
from ..deliver.choice import describe_choice
from ..deliver.clickhouse import ClickHouse
from ..deliver.files import Files
from ..deliver.loggers import DryRun
from ..deliver.lrs import Lrs
from ..deliver.routers import open_endpoints
from ..deliver.tables import open_table
from ..ledger.ledger import Ledger, job_identity, job_key
from ..ledger.lock import check_unlocked
from ..model.delivery import Destination
from ..model.plan import OutputFormat
from ..read.filters import TAKE_ALL, Filters
from ..storage.base import Source, Storage
from ..storage.factory import open_storage
from ..transform.db_router import read_from
from ..transform.factory import transformer_of
from ..transform.transformer import Transformer
from ..util import console
from ..util.errors import ExitStatus, JobError, NoContainer, Unavailable, without_resuming
from ..util.formatting import count
from ..work.source import open_source
from .findings import Findings
from .migrations import notice_of_other_lms
from .retention import describe_facts, read_facts, retention_notice
from .source import check_source
from .table import check_table

# A server that does not answer within this time is reported as unavailable; a run would wait much longer.
WAIT_SECS = 5.0
Opened = TypeVar("Opened", bound=Source)
CREATE_TABLES = "Create the tables of event-routing-backends: tutor local do init --limit=transform_logs"
CHECK_SERVER = "Check that it is running, and that its URL is right from inside the job's container."
TRIED_VERSIONS = ((9, 3), (11, 0))


class Check:
    """One check of one config. Each part is checked separately, so that one problem does not hide another."""

    def __init__(self, config: JobConfig) -> None:
        self._config = config
        self._findings = Findings(console.columns())
        self._transformer: Transformer | None = None
        self._destinations: Sequence[Destination] = ()

    def run(self, load_lms: Callable[[], None]) -> int:
        """Print the findings; returns the exit status. ``load_lms`` loads Django, or raises an error."""
        findings, config = self._findings, self._config
        filters = Filters.of(config)
        if filters is not TAKE_ALL:
            findings.note(f"Only {filters}.")
        loaded = False
        with self._reporting("The LMS can't be loaded"):
            load_lms()
            loaded = True
            self._check_packages()
        has_database = loaded and self._check_database()
        if has_database:
            self._check_transformer()
        self.check_destination(has_database)
        ledger = self._check_ledger()
        with self._reporting("The source can't be read"):
            source = self._open(config.source, open_source)
            if source is not None:
                source.check()
                left = check_source(findings, config, source, ledger, self._transformer, self._destinations)
                for table in self._destinations:
                    if isinstance(table, ClickHouse) and left and self._transformer is not None:
                        notice = retention_notice(config, table, source, left)
                        if notice:
                            findings.note(notice)
        return self._end()

    def _end(self) -> int:
        problems = self._findings.problems
        if not problems:
            self._findings.end("Nothing was changed. A run can start.")
            return ExitStatus.DONE
        to_fix = count(problems, "problem")
        self._findings.end(f"Nothing was changed. {to_fix} to fix before a run can start.")
        return ExitStatus.FAILED

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Report an error inside this context as a problem."""
        try:
            yield
        except ConfigError as error:
            self._findings.problem(f"{error}.")
        except JobError as error:
            self._findings.problem(without_resuming(str(error)))
        except DatabaseError as error:
            detail = f"{what}: {type(error).__name__}: {error}."
            self._findings.problem(
                f"{detail} {CREATE_TABLES}." if "exist" in detail or "no such table" in detail else detail
            )
        except Exception as error:
            self._findings.problem(f"{what}: {type(error).__name__}: {error}. Please report this.")

    def _check_packages(self) -> None:
        erb = importlib.import_module("event_routing_backends").__version__
        text = f"event-routing-backends {erb}, event-tracking {_version('event-tracking')}"
        if any(storage.needs_libcloud for storage in self._storages()):
            text += f", libcloud {_version('apache-libcloud')}"
        self._findings.ok(text)
        numbers = tuple(int(part) for part in str(erb).split(".")[:2] if part.isdecimal())
        least, below = TRIED_VERSIONS
        if not least <= numbers < below:
            self._findings.note(f"event-routing-backends {erb} has not been tested with this job; 9.3 to 10 have been.")

    def _storages(self) -> list[StorageConfig]:
        config = self._config
        return [config.source, config.ledger, *([config.destination] if config.destination else [])]

    def _check_database(self) -> bool:
        answers = False
        with self._reporting("The LMS's database does not answer"):
            read_from(self._config.database_alias)
            model = importlib.import_module("django.contrib.auth").get_user_model()
            alias = router.db_for_read(model)
            newest = model.objects.order_by("-id").values_list("id", flat=True).first()
            vendor = connections[alias].vendor
            if newest is None:
                self._findings.note(f"Database {alias} ({vendor}): it has no users. Is this the right LMS?")
            else:
                self._findings.ok(f"database {alias} ({vendor}), the newest user has id {newest:,}")
            answers = True
            if notice := notice_of_other_lms(alias):
                self._findings.note(notice)
        return answers

    def _check_transformer(self) -> None:
        config = self._config
        with self._reporting("event-routing-backends can't be set up"):
            made = transformer_of(config, WAIT_SECS)
            for notice in made.notices:
                self._findings.note(notice)
            known = made.known_names
            self._findings.ok(f"{config.transformer_type}: {len(known):,} types of events are transformed")
            for pattern in Filters.of(config).idle(known):
                self._findings.note(f"event: {config.transformer_type} transforms no event named {pattern}.")
            self._transformer = made

    def check_destination(self, has_database: bool) -> None:
        """Check where the statements go. Routers are in the database."""
        config = self._config
        if config.dry_run:
            dry_run = DryRun(config.transformer_type, config.log_statements)
            self._findings.ok(f"statements go to {dry_run.name}")
            self._destinations = [dry_run]
        elif config.destination is not None:
            self._check_files(config.destination)
        elif config.clickhouse is not None:
            with self._reporting("ClickHouse can't be used"):
                table = open_table(config, config.clickhouse)
                self._destinations = [table]
                if self._ask(table):
                    self._findings.ok(describe_facts(table.name, read_facts(table)))
                    check_table(table)
        elif has_database or config.lrs_endpoints:
            with self._reporting("The LMS's routers can't be read"):
                endpoints = open_endpoints(config)
                self._destinations = endpoints
                for endpoint in endpoints:
                    self._ask(endpoint)
        choice = describe_choice(config, self._destinations) if self._destinations else ""
        if choice:
            self._findings.ok(choice)
        if has_database:
            for notice in dashboards.notices(self._destinations):
                self._findings.note(notice)

    def _ask(self, endpoint: Lrs | ClickHouse) -> bool:
        """Does it answer as it should?"""
        answered = False
        with self._reporting(endpoint.name):
            try:
                self._findings.ok(f"{endpoint.name} {endpoint.probe()}")
                answered = True
            except Unavailable as error:
                raise JobError(f"{without_resuming(str(error))} {CHECK_SERVER}") from None
        return answered

    def _check_files(self, destination: StorageConfig) -> None:
        with self._reporting("The destination can't be used"):
            storage = self._open(destination, open_storage)
            if storage is None:
                return
            storage.check()
            self._findings.ok(f"destination {self._describe_target(storage, destination.prefix)}")
            key = job_key(job_identity(self._config))
            self._destinations = [Files(destination, storage, OutputFormat.of(self._config), key)]

    def _describe_target(self, storage: Storage, name: str) -> str:
        """A place, and whether the job can write there. Raises :class:`~.errors.PermanentError` if it can't."""
        where = storage.where(name)
        if storage.check_writable(name):
            return f"{where} can be written"
        return f"{where} exists (whether it can be written is not tested: that would change it)"

    def _check_ledger(self) -> Ledger | None:
        """The ledger; ``None`` if there is none that can be read."""
        config = self._config
        usable: Ledger | None = None
        with self._reporting("The ledger can't be used"):
            storage = self._open(config.ledger, open_storage)
            if storage is None:
                return None
            ledger = Ledger(storage, config.ledger.prefix, job_key(job_identity(config)))
            if not config.ledger.is_local:
                try:
                    storage.check()
                except NoContainer:
                    self._findings.note(f"ledger {ledger.where()}: the container does not exist yet; a run creates it.")
                    return None
            text = self._describe_target(storage, ledger.directory)
            plan = ledger.load_plan()
            check_unlocked(storage, config.ledger.is_local, ledger.directory)
            if plan is None:
                text += "; this job has not run yet"
            else:
                text += f"; plan {plan.name} is {'finished' if plan.finished else 'NOT finished: a run resumes it'}"
            self._findings.ok(f"ledger {text}")
            usable = ledger
        return usable

    def _open(self, config: StorageConfig, opener: Callable[[StorageConfig, float], Opened]) -> Opened | None:
        """``None`` if the package for object stores is missing, which has been reported."""
        if config.needs_libcloud and importlib.util.find_spec("libcloud") is None:
            return None
        return opener(config, min(WAIT_SECS, self._config.lrs_max_wait_secs))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"

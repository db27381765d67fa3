"""``--check``: a rehearsal that changes nothing. Tells of every part of a run if it is ready, and what to do if not."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.db import Error as DatabaseError
from django.db import connections, router

from ..config.schema import JobConfig, StorageConfig
from ..config.validators import ConfigError
from ..deliver.files import Files
from ..deliver.loggers import Loggers
from ..deliver.lrs import Lrs
from ..deliver.routers import open_endpoints
from ..ledger.ledger import Ledger, job_identity, job_key
from ..ledger.lock import see_whether_free
from ..model.delivery import Destination
from ..model.plan import OutputFormat
from ..read.filters import TAKE_ALL, Filters
from ..storage.base import Storage
from ..storage.factory import open_storage
from ..transform.db_router import read_from
from ..transform.transformer import Transformer
from ..util.errors import ExitStatus, JobError, NoContainer, Unavailable
from ..util.formatting import count
from .findings import Findings
from .source import look_at_source

# A server that does not answer within this time is told as out of reach: a run would wait for it much longer.
WAIT_SECS = 5.0
MAKE_TABLES = "Make event-routing-backends' tables: tutor local do init --limit=transform_logs"
IS_IT_UP = "Check that it is up, and its URL as seen from the job's container."
TRIED_VERSIONS = ((9, 3), (11, 0))


class Check:
    """One check of one config. Each part is looked at by itself, so that one problem does not hide another."""

    def __init__(self, config: JobConfig) -> None:
        self._config = config
        self._findings = Findings(min(shutil.get_terminal_size().columns, 100))
        self._transformer: Transformer | None = None
        self._destinations: Sequence[Destination] = ()

    def run(self, load_lms: Callable[[], None]) -> int:
        """Print what is found; gives the exit status. ``load_lms`` loads Django, or raises what is wrong with that."""
        findings, config = self._findings, self._config
        filters = Filters.of(config)
        if filters is not TAKE_ALL:
            findings.note(f"Only {filters}.")
        loaded = False
        with self._told("The LMS can't be loaded"):
            load_lms()
            loaded = True
            self._look_at_packages()
        has_database = loaded and self._look_at_database()
        if has_database:
            self._look_at_transformer()
        self.look_at_destination(has_database)
        ledger = self._look_at_ledger()
        with self._told("The source can't be read"):
            source = self._open(config.source)
            if source is not None:
                source.check()
                look_at_source(findings, config, source, ledger, self._transformer, self._destinations)
        return self._end()

    def _end(self) -> int:
        problems = self._findings.problems
        if not problems:
            self._findings.end("Nothing was changed. A run can start.")
            return ExitStatus.DONE
        many = count(problems, "problem")
        self._findings.end(f"Nothing was changed. {many} to solve before a run can start.")
        return ExitStatus.FAILED

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What goes wrong inside is told as a problem."""
        try:
            yield
        except ConfigError as error:
            self._findings.problem(f"{error}.")
        except JobError as error:
            self._findings.problem(without_resuming(error))
        except DatabaseError as error:
            detail = f"{what}: {type(error).__name__}: {error}."
            self._findings.problem(
                f"{detail} {MAKE_TABLES}." if "exist" in detail or "no such table" in detail else detail
            )
        except Exception as error:
            self._findings.problem(f"{what}: {type(error).__name__}: {error}. Please report this.")

    def _look_at_packages(self) -> None:
        erb = importlib.import_module("event_routing_backends").__version__
        text = f"event-routing-backends {erb}, event-tracking {_version('event-tracking')}"
        if any(not storage.is_local for storage in self._storages()):
            text += f", libcloud {_version('apache-libcloud')}"
        self._findings.ok(text)
        numbers = tuple(int(part) for part in str(erb).split(".")[:2] if part.isdecimal())
        least, below = TRIED_VERSIONS
        if not least <= numbers < below:
            self._findings.note(f"event-routing-backends {erb} has not been tried with this job, 9.3 to 10 have.")

    def _storages(self) -> list[StorageConfig]:
        config = self._config
        return [config.source, config.ledger, *([config.destination] if config.destination else [])]

    def _look_at_database(self) -> bool:
        answers = False
        with self._told("The LMS's database does not answer"):
            read_from(self._config.database_alias)
            model = importlib.import_module("django.contrib.auth").get_user_model()
            alias = router.db_for_read(model)
            newest = model.objects.order_by("-id").values_list("id", flat=True).first()
            vendor = connections[alias].vendor
            if newest is None:
                self._findings.note(f"Database {alias} ({vendor}): there is no user in it. Is this the right LMS?")
            else:
                self._findings.ok(f"database {alias} ({vendor}), the newest user has id {newest:,}")
            answers = True
        return answers

    def _look_at_transformer(self) -> None:
        config = self._config
        with self._told("event-routing-backends can't be set up"):
            made = Transformer(config.transformer_type, config.caliper_stable_ids, WAIT_SECS, config.fast_path)
            for notice in made.notices:
                self._findings.note(notice)
            known = made.known_names
            self._findings.ok(f"{config.transformer_type}: {len(known):,} event names are transformed")
            for pattern in Filters.of(config).idle(known):
                self._findings.note(f"event: {config.transformer_type} transforms no event named {pattern}.")
            self._transformer = made

    def look_at_destination(self, has_database: bool) -> None:
        """Tell of where statements go; routers are in the database."""
        config = self._config
        if config.dry_run:
            self._findings.ok("dry run: statements go to the logger only")
            self._destinations = [Loggers(config.transformer_type)]
        elif config.destination is not None:
            self._look_at_files(config.destination)
        elif has_database or config.lrs_endpoints:
            with self._told("The LMS's routers can't be read"):
                endpoints = open_endpoints(config)
                self._destinations = endpoints
                for endpoint in endpoints:
                    self._ask(endpoint)

    def _ask(self, endpoint: Lrs) -> None:
        with self._told(endpoint.name):
            try:
                self._findings.ok(f"{endpoint.name} {endpoint.probe()}")
            except Unavailable as error:
                raise JobError(f"{without_resuming(error)} {IS_IT_UP}") from None

    def _look_at_files(self, destination: StorageConfig) -> None:
        with self._told("The destination can't be used"):
            storage = self._open(destination)
            if storage is None:
                return
            storage.check()
            self._findings.ok(f"destination {self._written(storage, destination.prefix)}")
            key = job_key(job_identity(self._config))
            self._destinations = [Files(destination, storage, OutputFormat.of(self._config), key)]

    def _written(self, storage: Storage, name: str) -> str:
        """Where something is to be written, and whether it can be. Raises :class:`~.errors.PermanentError` if not."""
        where = storage.where(name)
        if storage.check_writable(name):
            return f"{where} can be written"
        return f"{where} is there (it is not tried whether it can be written: that would change it)"

    def _look_at_ledger(self) -> Ledger | None:
        """The ledger, if there is one that can be read."""
        config = self._config
        usable: Ledger | None = None
        with self._told("The ledger can't be used"):
            storage = self._open(config.ledger)
            if storage is None:
                return None
            ledger = Ledger(storage, config.ledger.prefix, job_key(job_identity(config)))
            if not config.ledger.is_local:
                try:
                    storage.check()
                except NoContainer:
                    self._findings.note(f"ledger {ledger.where()}: the container does not exist yet, a run makes it.")
                    return None
            text = self._written(storage, ledger.directory)
            plan = ledger.load_plan()
            see_whether_free(storage, config.ledger.is_local, ledger.directory)
            if plan is None:
                text += "; this job has not run yet"
            else:
                text += f"; plan {plan.name} is {'finished' if plan.finished else 'NOT finished: a run resumes it'}"
            self._findings.ok(f"ledger {text}")
            usable = ledger
        return usable

    def _open(self, config: StorageConfig) -> Storage | None:
        """``None`` where the package for object stores is missing, which has been told."""
        if not config.is_local and importlib.util.find_spec("libcloud") is None:
            return None
        return open_storage(config, min(WAIT_SECS, self._config.lrs_max_wait_secs))


def without_resuming(error: JobError) -> str:
    """The error's words. Whether a run could be resumed is not the question of a check."""
    return str(error).removesuffix(" Run again to resume.")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"

"""Opens what the phases of a job need: source, ledger and destinations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ..config.schema import JobConfig
from ..deliver.files import Files
from ..deliver.loggers import DryRun
from ..deliver.routers import open_endpoints
from ..deliver.tables import open_table
from ..ledger.ledger import Ledger, job_identity, job_key
from ..model.delivery import Destination, KnownDestination, NamedDestination
from ..model.plan import OutputFormat, Plan
from ..storage.base import Source, Storage
from ..storage.factory import open_storage
from .endpoint_memory import LedgerMemory
from .source import open_source


@dataclass(frozen=True)
class OpenJob:
    """Belongs to one process, as its connections do: after a fork it is opened again."""

    config: JobConfig
    source: Source
    ledger: Ledger
    destinations: tuple[Destination, ...]
    store: Storage | None
    """The destination's storage, where statements go to files."""

    @property
    def destination_ids(self) -> list[str]:
        return [destination.id for destination in self.destinations]

    def with_output_of(self, plan: Plan) -> OpenJob:
        """A plan keeps the output format that it was made with."""
        if self.store is None:
            return self
        return replace(self, destinations=(_files(self.config, self.store, plan.output, self.ledger.key),))

    def reopened(self, plan: Plan) -> OpenJob:
        """The same job with connections of its own, after a fork."""
        config = self.config
        wait = config.lrs_max_wait_secs
        store = open_storage(config.destination, wait) if self.store is not None and config.destination else None
        source, ledger = open_source(config.source, wait), open_ledger(config)
        ledger.lease = self.ledger.lease
        return OpenJob(config, source, ledger, _destinations(config, plan.output, store), store)


def open_ledger(config: JobConfig) -> Ledger:
    """The ledger alone; nothing is read, made or checked."""
    storage = open_storage(config.ledger, config.lrs_max_wait_secs)
    return Ledger(storage, config.ledger.prefix, job_key(job_identity(config)))


def open_job(config: JobConfig, create_ledger: bool = True) -> OpenJob:
    """Open all that a run needs. ``create_ledger``: make the ledger's container if there is none.

    Raises :class:`~.errors.JobError` for what can't be used, before anything is read.
    """
    wait = config.lrs_max_wait_secs
    source = open_source(config.source, wait, partial(_has_run, config))
    source.check()
    store = None
    if config.destination is not None and not config.dry_run:
        store = open_storage(config.destination, wait, partial(_has_run, config))
        store.check()
    # Opened now, so that a job that has nowhere to send to fails before it reads or makes anything.
    destinations = _destinations(config, OutputFormat.of(config), store)
    ledger = open_ledger(config)
    if create_ledger:
        ledger.storage.check(create=True)
    return OpenJob(config, source, ledger, destinations, store)


def _has_run(config: JobConfig) -> bool:
    """Has an earlier run of this job reached its source and its destination?"""
    return open_ledger(config).load_plan() is not None


def describe_destinations(config: JobConfig, ledger: Ledger, plan: Plan) -> list[NamedDestination]:
    """The destinations that ``plan`` has entries of, for a report that changes nothing: none is connected to.

    Where the LMS's routers can't be read, those in the ledger are known by their ids alone.
    """
    known = ledger.destination_ids(plan)
    store = None
    if config.destination is not None and not config.dry_run:
        store = open_storage(config.destination, config.lrs_max_wait_secs)
    destinations: list[NamedDestination] = []
    try:
        destinations += _destinations(config, plan.output, store)
    except Exception:
        # An LMS that can't be read does not keep the ledger from being shown.
        if not known:
            raise
    found = {destination.id for destination in destinations}
    return [*destinations, *(KnownDestination(name, name) for name in known if name not in found)]


def _destinations(config: JobConfig, output: OutputFormat, store: Storage | None) -> tuple[Destination, ...]:
    if config.dry_run:
        return (DryRun(config.transformer_type, config.log_statements),)
    if config.clickhouse is not None:
        return (
            open_table(config, config.clickhouse, lambda table: LedgerMemory(open_ledger(config), table).was_reached()),
        )
    if store is None:
        return tuple(open_endpoints(config, partial(LedgerMemory, open_ledger(config))))
    return (_files(config, store, output, job_key(job_identity(config))),)


def _files(config: JobConfig, store: Storage, output: OutputFormat, key: str) -> Files:
    assert config.destination is not None
    return Files(config.destination, store, output, key)

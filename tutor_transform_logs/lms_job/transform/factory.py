"""Opens the transformer that a config asks for, and prints what the user should know about it."""

from __future__ import annotations

from ..config.schema import JobConfig
from ..read.filters import Filters
from ..util import console
from ..util.formatting import printable
from .transformer import Transformer


def make_transformer(config: JobConfig) -> Transformer:
    """Raises :class:`~.errors.JobError` where ERB's router can't be made. Prints nothing."""
    return transformer_of(config, config.lrs_max_wait_secs)


def transformer_of(config: JobConfig, max_wait_secs: float) -> Transformer:
    """As :func:`make_transformer`, with its own time to wait for the LMS's database."""
    return Transformer(
        config.transformer_type,
        config.caliper_stable_ids,
        max_wait_secs,
        config.fast_path,
        config.include_deleted_users,
    )


def open_transformer(config: JobConfig) -> Transformer:
    """:func:`make_transformer`, and print what the user should know about it."""
    transformer = make_transformer(config)
    for notice in transformer.notices:
        console.say(notice)
    for pattern in Filters.of(config).idle(transformer.known_names):
        console.say(printable(f"event: {config.transformer_type} transforms no event named {pattern}."))
    return transformer

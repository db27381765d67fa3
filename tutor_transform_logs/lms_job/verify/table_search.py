"""Searches a table of ClickHouse for statements: a query for each thousand, by time and id."""

from __future__ import annotations

import base64
import hashlib
import json
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..deliver.clickhouse import ClickHouse
from ..deliver.clickhouse_rows import RowKey, key_condition, row_key
from ..model.delivery import Held, OutgoingStatement
from ..model.equivalence import comparable

KEY = "event_id, toUnixTimestamp64Micro(emission_time) AS micros"
DIGEST = "hex(MD5(event)) AS content"
EVENT = "base64Encode(event) AS content"


class TableSearch:
    """Compares digests made by ClickHouse. Only statements whose digest differs are fetched and compared as JSON.

    Those that Vector stored live differ: it writes their JSON in a form of its own.
    """

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self.requests = 0
        self.surplus_rows = array("Q")

    def held(self, statements: Sequence[OutgoingStatement]) -> list[Held]:
        """What the table has of each of these. Raises :class:`~.errors.JobError` if ClickHouse does not answer."""
        bodies = [statement.body for statement in statements]
        keys = [_key(statement) for statement in statements]
        digests = self._contents(DIGEST, sorted({key for key in keys if key is not None}))
        self.surplus_rows.extend(_hash(key, n) for key, rows in digests.items() for n in range(1, len(rows)))
        same = [
            key is not None and _digest(body) in digests.get(key, ()) for key, body in zip(keys, bodies, strict=True)
        ]
        others = {key for key, equal in zip(keys, same, strict=True) if key and not equal and key in digests}
        events = self._contents(EVENT, sorted(others))
        return [
            Held.SAME if equal else Held.NOTHING if key is None else _compare(body, events.get(key, ()))
            for key, body, equal in zip(keys, bodies, same, strict=True)
        ]

    def _contents(self, column: str, keys: Sequence[RowKey]) -> Mapping[RowKey, list[str]]:
        """``column`` of the table's rows with one of the sorted ``keys``."""
        contents: dict[RowKey, list[str]] = defaultdict(list)
        if not keys:
            return contents
        self.requests += 1
        table = self._clickhouse.table.sql
        # Names are quoted, and the rest is numbers and UUIDs.
        sql = f"SELECT {KEY}, {column} FROM {table} WHERE {key_condition(keys)}"  # noqa: S608
        wanted = set(keys)
        for event_id, micros, content in self._clickhouse.rows(sql, "event_id\tmicros\tcontent"):
            key = RowKey(int(micros), event_id)
            if key in wanted:
                contents[key].append(content)
        return contents


def _key(statement: OutgoingStatement) -> RowKey | None:
    """``None`` for a statement that the table has no place for."""
    try:
        return row_key(statement.made.statement)
    except ValueError:
        return None


def _hash(key: RowKey, row: int) -> int:
    """Of the row with this number among those with this key."""
    return int.from_bytes(hashlib.blake2b(f"{key.micros} {key.id} {row}".encode(), digest_size=8).digest(), "big")


def _digest(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest().upper()


def _compare(body: bytes, events: Sequence[str]) -> Held:
    sent = comparable(json.loads(body))
    for event in events:
        try:
            fields = json.loads(base64.b64decode(event))
        except ValueError:
            continue
        if isinstance(fields, dict) and comparable(fields) == sent:
            return Held.SAME
    return Held.DIFFERENT if events else Held.NOTHING

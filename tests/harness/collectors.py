"""Logs as collectors keep them: the same lines in every form that the job reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Lines = Sequence[bytes]
TIME = "2026-02-01T00:00:00.123456789Z"


def dumped(value: object, compact: bool = True) -> bytes:
    """As a collector writes it."""
    separators = (",", ":") if compact else None
    return json.dumps(value, separators=separators, ensure_ascii=False).encode("utf-8", "surrogatepass")


def parts_of(line: bytes, points: Sequence[int]) -> list[bytes]:
    """``line`` in parts, none of them empty; of UTF-8, no character is cut."""
    text = line.decode()
    bounds = sorted({0, len(text), *(point for point in points if 0 < point < len(text))})
    return [text[begin:end].encode() for begin, end in pairwise(bounds)] or [b""]


def docker(lines: Lines, points: Sequence[int] = (), stream: str = "stdout", **more: object) -> list[bytes]:
    """Docker's json-file, each line in parts that are cut at ``points``.

    Docker's own have 16 kB, which is more than what a logger writes before an event.
    """
    made = []
    for line in lines:
        text = line.decode()
        begin = text.find('{"') + 2
        *begun, last = parts_of(line, [point for point in points if 2 <= begin <= point])
        for part in (*begun, last + b"\n"):
            made.append(dumped({"log": part.decode(), "stream": stream, "time": TIME, **more}))
    return made


def fluentd(lines: Lines, points: Sequence[int] = ()) -> list[bytes]:
    """Docker's lines as Fluentd passes them on: it has taken their time."""
    records = [json.loads(part) for part in docker(lines, points)]
    more = {"docker": {"container_id": "5f1c"}, "kubernetes": {"pod_name": "lms-7d9f"}}
    return [dumped({"log": record["log"], "stream": record["stream"], **more}) for record in records]


def trimmed(wrapped: Sequence[bytes]) -> list[bytes]:
    """Docker's lines as some collectors leave them: without line ends."""
    records = [json.loads(part) for part in wrapped]
    return [dumped({**record, "log": record["log"].removesuffix("\n")}) for record in records]


def cri(lines: Lines, points: Sequence[int] = (), stream: str = "stdout") -> list[bytes]:
    """containerd's."""
    made = []
    for line in lines:
        *begun, last = parts_of(line, points)
        made += [f"{TIME} {stream} P ".encode() + part for part in begun]
        made.append(f"{TIME} {stream} F ".encode() + last)
    return made


def fluent_bit(lines: Lines, points: Sequence[int] = (), key: str = "logtag") -> list[bytes]:
    """Its records of containerd's lines: without line ends."""
    made = []
    pod = {"pod_name": "lms-7d9f", "labels": {"app.kubernetes.io/name": "lms"}, "container_name": "lms"}
    for line in lines:
        *begun, last = parts_of(line, points)
        for part, tag in (*((part, "P") for part in begun), (last, "F")):
            record = {"date": 1769904000.123, "stream": "stderr", key: tag, "log": part.decode(), "time": TIME}
            made.append(dumped({**record, "kubernetes": pod}))
    return made


def fluentd_driver(lines: Lines, points: Sequence[int] = (), stream: str = "stdout", **more: object) -> list[bytes]:
    """Docker's logging driver for Fluentd, as Fluentd or FireLens passes its records on."""
    made = []
    for at, line in enumerate(lines):
        parts = parts_of(line, points)
        record = {"container_id": "5f1c", "container_name": "/lms", "source": stream, **more}
        for number, part in enumerate(parts, 1):
            partial = {"partial_message": "true", "partial_id": f"{stream}-{at}", "partial_ordinal": str(number),
                       "partial_last": str(number == len(parts)).lower()}  # fmt: skip
            made.append(dumped({**record, "log": part.decode(), **(partial if len(parts) > 1 else {})}))
    return made


def in_key(key: str, **more: object) -> Callable[[Lines], list[bytes]]:
    """Each line under ``key`` of an object."""
    return lambda lines: [
        dumped({"host": "lms-0", key: line.decode(), "labels": {"app": "lms", "level": 6}, **more}) for line in lines
    ]


def cloudwatch(lines: Lines, together: int = 3) -> list[bytes]:
    """The records of a subscription, with some lines each, and the one with which CloudWatch begins."""
    head = {"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "lms", "logStream": "lms-0"}
    made = []
    for begin in range(0, len(lines), together):
        events = [
            {"id": f"{begin + at:056}", "timestamp": 1769904000000 + at, "message": line.decode()}
            for at, line in enumerate(lines[begin : begin + together])
        ]
        made.append(dumped({**head, "subscriptionFilters": ["all"], "logEvents": events}))
    return made


def logstash_8(lines: Lines) -> list[bytes]:
    """By Elastic's schema, with the line twice."""
    made = []
    for line in lines:
        text = line.decode()
        record = {"@timestamp": TIME, "@version": "1", "event": {"original": text}, "host": {"name": "lms-0"}}
        made.append(dumped({**record, "message": text, "log": {"file": {"path": "/x"}}}))
    return made


def otlp(lines: Lines, together: int = 3) -> list[bytes]:
    """OpenTelemetry's JSON, as its collector's file exporter writes it."""
    made = []
    for begin in range(0, len(lines), together):
        records = [
            {"timeUnixNano": "1769904000000000000", "body": {"stringValue": line.decode()}, "traceId": ""}
            for line in lines[begin : begin + together]
        ]
        scopes = [{"scope": {}, "logRecords": records[:1]}, {"scope": {"name": "x"}, "logRecords": records[1:]}]
        resource = {"attributes": [{"key": "k8s.pod.name", "value": {"stringValue": "lms-7d9f"}}]}
        made.append(dumped({"resourceLogs": [{"resource": resource, "scopeLogs": scopes}]}))
    return made


def loki_answer(lines: Lines) -> bytes:
    """What Loki's API answers to a query."""
    half = len(lines) // 2
    streams = [
        {
            "stream": {"app": "lms"},
            "values": [[f"{1769904000000000000 + at}", line.decode()] for at, line in enumerate(some)],
        }
        for some in (lines[:half], lines[half:])
    ]
    answer = {"status": "success", "data": {"resultType": "streams", "result": streams, "stats": {"summary": {}}}}
    return dumped(answer) if lines else b""


def wrapped_twice(lines: Lines) -> list[bytes]:
    """What Fluent Bit has read from Docker's files, and has put into CloudWatch."""
    return cloudwatch(docker(lines, kubernetes={"pod_name": "lms"}))


def parsed(lines: Lines) -> list[bytes]:
    """Vector, with ``parse_json``: the event is an object in the record. It sorts keys, which the test's lines are."""
    return [dumped({"file": "/var/log/lms.log", "message": json.loads(line), "timestamp": TIME}) for line in lines]


def shallow(lines: Lines) -> list[dict[str, Any]]:
    """The events as Vector's ``parse_json`` leaves them with ``max_depth: 1``."""
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [
        {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in event.items()}
        for event in events
    ]


def joined(wrapped: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in wrapped)


# Each gives the bytes of an object with the lines.
OF_LINES: Mapping[str, Callable[[Lines], bytes]] = {
    "docker": lambda lines: joined(docker(lines)),
    "docker, spaced": lambda lines: joined([dumped(json.loads(each), compact=False) for each in docker(lines)]),
    "cri": lambda lines: joined(cri(lines)),
    "fluent bit": lambda lines: joined(fluent_bit(lines)),
    "fluent bit, _p": lambda lines: joined(fluent_bit(lines, key="_p")),
    "fluentd": lambda lines: joined(fluentd_driver(lines)),
    "fluentd, docker's lines": lambda lines: joined(fluentd(lines)),
    "vector": lambda lines: joined(in_key("message", timestamp=TIME, stream="stdout")(lines)),
    "loki": lambda lines: joined(in_key("line", timestamp=TIME)(lines)),
    "logstash": lambda lines: joined(in_key("@message", **{"@timestamp": TIME})(lines)),
    "elastic": lambda lines: joined(in_key("message", log={"file": {"path": "/x"}, "offset": 7})(lines)),
    "logstash 8": lambda lines: joined(logstash_8(lines)),
    "logstash 8, original": lambda lines: joined(
        [dumped({"event": {"original": line.decode(), "dataset": "lms"}, "host": {"name": "x"}}) for line in lines]
    ),
    "filebeat": lambda lines: joined(in_key("message", event={"dataset": "lms.tracking"}, log={"offset": 1})(lines)),
    "vector, data": lambda lines: joined(in_key("message", data={})(lines)),
    "splunk": lambda lines: joined(
        [dumped({"time": 1769904000.123, "host": "lms-0", "event": line.decode()}) for line in lines]
    ),
    "splunk by docker": lambda lines: joined(
        [dumped({"event": {"line": line.decode(), "source": "stdout", "tag": "5f1c"}, "host": "x"}) for line in lines]
    ),
    "gelf": lambda lines: joined(in_key("short_message", version="1.1", level=6)(lines)),
    "opentelemetry": lambda lines: joined(in_key("body", severity="INFO")(lines)),
    "opentelemetry, stringValue": lambda lines: joined(
        [dumped({"timeUnixNano": "1", "body": {"stringValue": line.decode()}, "flags": 0}) for line in lines]
    ),
    "opentelemetry's json": lambda lines: joined(otlp(lines)),
    "loki's answer": loki_answer,
    "cloudwatch": lambda lines: joined(cloudwatch(lines)),
    "cloudwatch by firehose": lambda lines: b"".join(cloudwatch(lines)),
    "fluent bit to cloudwatch": lambda lines: b"".join(wrapped_twice(lines)),
    "array of docker's": lambda lines: b"[" + b",".join(docker(lines)) + b"]" if lines else b"",
}
# Of lines that are JSON objects, as a tracker writes them, without a logger's prefix.
OF_OBJECTS: Mapping[str, Callable[[Lines], bytes]] = {
    "one after the other": b"".join,
    "with spaces between": b" ".join,
    "array": lambda lines: b"[" + b", ".join(lines) + b"]",
    "array, a line each": lambda lines: b"[\n" + b",\n".join(lines) + b"\n]\n",
    "array, pretty-printed": lambda lines: json.dumps([*map(json.loads, lines)], indent=2).encode() + b"\n",
    "pretty-printed": lambda lines: b"".join(json.dumps(json.loads(line), indent=4).encode() + b"\n" for line in lines),
    "splunk, parsed": lambda lines: joined(
        [dumped({"time": 1, "host": "x", "event": json.loads(line)}) for line in lines]
    ),
    "pretty-printed, indent 0": lambda lines: b"".join(
        json.dumps(json.loads(line), indent=0).encode() + b"\n" for line in lines
    ),
    "vector's parse_json": lambda lines: joined(parsed(lines)),
}
# With the points at which each line is cut into parts.
IN_PARTS: Mapping[str, Callable[[Lines, Sequence[int]], list[bytes]]] = {
    "docker": docker,
    "cri": cri,
    "fluent bit": fluent_bit,
    "fluentd": fluentd_driver,
    "fluentd, docker's lines": fluentd,
}

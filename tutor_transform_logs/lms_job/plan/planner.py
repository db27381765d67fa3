"""PLAN: list the source, identify each object, subtract what the ledger says is done, cut the rest into segments."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ..config.schema import JobConfig
from ..ledger.entries import Entries, Entry, lines_of
from ..ledger.ledger import Ledger
from ..model.plan import (
    ANOTHER_COPY,
    DONE_BEFORE,
    EMPTY,
    HARMLESS_NOTES,
    LOOK_AGAIN,
    OUT_OF_RANGE,
    Archive,
    Content,
    ContentIndex,
    OutputFormat,
    Plan,
    Range,
    Segment,
    SourceObject,
    Tail,
    cut_points,
    new_uuid,
    subtract,
)
from ..read.archives import archive_of
from ..read.cuts import can_be_cut, next_cut
from ..read.decompress import TAR
from ..read.identify import has_tail
from ..storage.base import Source
from ..util.cpus import worker_count
from ..util.errors import ObjectGone
from .discovery import ArchiveIndex, IdentifiedObject, ObjectMoved, find_object_of, identify_objects
from .resend import resume_redelivery
from .selection import select_objects

MIN_SEGMENT_BYTES = 1024**2
# How often the source is looked at again because a log was rotated meanwhile.
LOOKS = 3
SEGMENTS_PER_WORKER = 4


def starts_over(config: JobConfig) -> bool:
    """Does this run ignore what earlier runs did? A dry run always goes through everything."""
    return config.restart or config.dry_run


def make_plan(config: JobConfig, source: Source, ledger: Ledger, destinations: Sequence[str], shares: int = 1) -> Plan:
    """The plan of :func:`next_plan`, saved in the ledger."""
    old = None if starts_over(config) else ledger.load_plan()
    if old is not None and old.redelivers and not old.finished:
        old = resume_redelivery(ledger, old)
    plan = next_plan(config, source, old, old.number if old else ledger.last_number(), destinations, shares)
    ledger.save_plan(plan)
    return plan


def next_plan(
    config: JobConfig,
    source: Source,
    old: Plan | None,
    last_number: int,
    destinations: Sequence[str],
    shares: int = 1,
) -> Plan:
    """Make a plan, or resume the ``old`` one unchanged if it is not finished.

    What was added to the source since an unfinished plan was made is left to the next plan, so that a resumed run has
    the same output as an undisturbed one. ``destinations`` are ids; ``shares`` is how many pods divide the
    work. Raises :class:`~.errors.JobError` if there is nothing to read at all.

    Six parameters: all that a plan depends on, passed one by one so that this stays a function of its inputs.
    """
    for last_look in (*[False] * LOOKS, True):
        found, out_of_range = select_objects(config, source, must_exist=old is None)
        index = ContentIndex(old.contents if old else ())
        archives = ArchiveIndex(old.archives if old and old.finished else (), destinations)
        try:
            identified = identify_objects(source, found, index, archives, last_look)
            break
        except ObjectMoved:
            pass  # a log was rotated while this run compared it
    if old is not None and not old.finished:
        plan = replace(old, segments=tuple(_moved(old.segments, identified)))
    else:
        plan = _new_plan(config, source, index, identified, destinations, last_number + 1, shares)
        plan = replace(plan, archives=tuple(archives.found))
        unread = [SourceObject(obj.name, obj.size, None, OUT_OF_RANGE) for obj in out_of_range]
        plan = replace(plan, objects=tuple(sorted([*plan.objects, *unread], key=lambda obj: obj.name)))
        if not plan.segments:
            # A plan without work gets no number of its own; what was learned about the objects is kept.
            plan = replace(finish_plan(plan, {}), number=last_number, uuid=old.uuid if old else plan.uuid)
    return plan


def _new_plan(
    config: JobConfig,
    source: Source,
    index: ContentIndex,
    identified: Sequence[IdentifiedObject],
    destinations: Sequence[str],
    number: int,
    shares: int,
) -> Plan:
    """Seven parameters: those of :func:`next_plan`, with what it has found in the source."""
    segments: list[Segment] = []
    objects: list[SourceObject] = []
    segment_bytes = _segment_bytes(config, sum(obj.size for obj in identified), shares)
    objects += [SourceObject(obj.name, obj.size, None, obj.note or EMPTY) for obj in identified if not obj.content]
    for same in _by_content([obj for obj in identified if obj.content]):
        planned, noted = _plan_content(segment_bytes, source, index.contents[same[0].content], same, destinations)
        segments += planned
        objects += noted
    # What is in an archive comes in its order there: a compressed one is then read once.
    places = {obj.name: (archive_of(obj.name) or obj.name, obj.place) for obj in identified}
    ordered = sorted(segments, key=lambda segment: (*places[segment.object], segment.object, segment.start))
    return Plan(
        number=number,
        created=time.time(),
        contents=tuple(index.contents.values()),
        objects=tuple(sorted(objects, key=lambda entry: entry.name)),
        segments=tuple(replace(segment, id=number) for number, segment in enumerate(ordered, 1)),
        output=OutputFormat.of(config),
        uuid=new_uuid(),
    )


def _by_content(identified: Sequence[IdentifiedObject]) -> Iterator[list[IdentifiedObject]]:
    """Objects grouped by content; in each group, the longest uncompressed object comes first and is read first."""
    groups: dict[int, list[IdentifiedObject]] = {}
    for obj in identified:
        groups.setdefault(obj.content, []).append(obj)
    for group in groups.values():
        yield sorted(group, key=lambda obj: (bool(obj.compression), -obj.size, obj.name))


def _moved(segments: Sequence[Segment], identified: Sequence[IdentifiedObject]) -> Iterator[Segment]:
    """A resumed plan's segments, each with the object that holds its content now: the log may have been rotated."""
    holders: dict[int, list[IdentifiedObject]] = {}
    for obj in identified:
        holders.setdefault(obj.content, []).append(obj)
    for segment in segments:
        # A segment whose content was not found is kept: WORK searches again and accounts for it.
        yield find_object_of(segment, holders.get(segment.content, ())) or segment


def _segment_bytes(config: JobConfig, total: int, shares: int) -> int:
    """How large a piece of a plain object is: small enough that every worker gets several, even of one object."""
    workers = worker_count(config.workers) * shares
    if workers == 1:
        return config.segment_bytes
    return min(config.segment_bytes, max(MIN_SEGMENT_BYTES, total // (workers * SEGMENTS_PER_WORKER)))


def _plan_content(
    segment_bytes: int,
    source: Source,
    content: Content,
    objects: Sequence[IdentifiedObject],
    destinations: Sequence[str],
) -> tuple[list[Segment], list[SourceObject]]:
    """The segments for what is new in ``objects``, which all hold ``content``."""
    planned: list[Segment] = []
    noted: list[SourceObject] = []
    covered: list[Range] = []
    for obj in objects:
        wanted, note = _wanted(content, obj, destinations)
        pieces: list[Range] = []
        if wanted is not None and any(end is None for _, end in covered):
            note = LOOK_AGAIN
        elif wanted is not None:
            pieces = subtract(wanted, [(start, end) for start, end in covered if end is not None])
            note = "" if pieces else ANOTHER_COPY
        skip = _done(content, destinations, _has_grown(content, obj))
        for start, end in pieces:
            planned += _segments(segment_bytes, source, content, obj, (start, end), skip)
        covered += pieces
        noted.append(SourceObject(obj.name, obj.size, content.id, note))
    return planned, noted


def _segments(
    segment_bytes: int, source: Source, content: Content, obj: IdentifiedObject, piece: Range, skip: Mapping[str, int]
) -> Iterator[Segment]:
    """The segments of one ``piece`` of an object. Six parameters: a value of them would have this one use."""
    for begin, stop in _cut_as_identified(segment_bytes, source, content, obj, piece):
        yield Segment(
            id=0,
            content=content.id,
            object=obj.name,
            start=begin,
            end=stop,
            stored_bytes=obj.size if obj.compression or stop is None else stop - begin,
            compression=obj.compression,
            after_unterminated_line=content.unterminated and begin == content.length > 0,
            lines_before=_lines_before(content, begin),
            skip={name: offset for name, offset in skip.items() if offset > begin},
        )


def _lines_before(content: Content, offset: int) -> int | None:
    if content.resume_at == offset:
        return content.lines - 1
    return content.lines if content.length == offset else None if offset else 0


def _has_grown(content: Content, obj: IdentifiedObject) -> bool:
    return content.names.get(obj.name) != obj.size


def _done(content: Content, destinations: Sequence[str], grown: bool) -> dict[str, int]:
    """What each destination has of this content; a last line that was incomplete is had again once it has grown."""
    done = {name: content.done.get(name, 0) for name in destinations}
    if grown and content.resume_at is not None:
        done = {name: min(offset, content.resume_at) for name, offset in done.items()}
    return done


def _wanted(content: Content, obj: IdentifiedObject, destinations: Sequence[str]) -> tuple[Range | None, str]:
    """The range of ``one`` that some destination has not got yet, or why there is none."""
    start = min(_done(content, destinations, _has_grown(content, obj)).values())
    if obj.length is not None and start >= obj.length:
        return None, DONE_BEFORE
    return (start, obj.length), ""


def _cut_as_identified(
    segment_bytes: int, source: Source, content: Content, obj: IdentifiedObject, piece: Range
) -> list[Range]:
    """The ranges of one ``piece``; the whole of it if the log was rotated since it was identified.

    WORK then finds it under its new name. Another log that has its name has lines of other lengths.
    """
    try:
        ranges = _cut(segment_bytes, source, obj, *piece)
    except ObjectGone:
        return [piece]
    is_cut = len(ranges) > 1
    return ranges if not is_cut or has_tail(source, obj.name, content, obj.compression) else [piece]


def _cut(segment_bytes: int, source: Source, obj: IdentifiedObject, start: int, end: int | None) -> list[Range]:
    """Cut a range of a plain object into segments, between lines. A compressed one is read as a whole."""
    if obj.compression or end is None:
        return [(start, end)]
    points = cut_points(start, end, segment_bytes)
    if points and not can_be_cut(source, obj.name, start, end):
        return [(start, end)]
    cuts = [start]
    for point in points:
        if point <= cuts[-1]:
            continue
        line = next_cut(source, obj.name, (cuts[-1], end), point)
        if line is not None:
            cuts.append(line)
    cuts.append(end)
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def finish_plan(plan: Plan, entries: Entries) -> Plan:
    """The plan as finished, with what its segments did added to what is known of their contents.

    ``entries``: segment id -> destination id -> entry.
    """
    if plan.redelivers:
        return replace(plan, finished=True)
    contents = {content.id: content for content in plan.contents}
    for segment, before in numbered_lines(plan, entries):
        lines = before + lines_of(entries[segment.id])
        content = _with_done(contents[segment.content], segment, entries[segment.id], lines)
        contents[segment.content] = content
    # In a compressed tar archive that is cut off, an object has the size that it has in the whole one.
    cut_off = {segment.object for segment in plan.segments if TAR in segment.compression and _problem(entries, segment)}
    for obj in plan.objects:
        if obj.content is not None and obj.note != LOOK_AGAIN and obj.name not in cut_off:
            content = contents[obj.content]
            contents[content.id] = replace(content, names={**content.names, obj.name: obj.size})
    # An object whose first bytes could not be read is identified again every time.
    known = (content for content in contents.values() if content.fingerprint.length)
    archives = _with_archives_done(replace(plan, contents=tuple(contents.values())), cut_off)
    return replace(plan, contents=tuple(known), archives=archives, finished=True)


def _with_archives_done(plan: Plan, broken: Collection[str]) -> tuple[Archive, ...]:
    """The archives of a plan whose contents are up to date; ``broken``: the names of objects with a problem.

    One with something in it that has to be said again, or looked at again, is opened by the next plan, too.
    """
    contents = {content.id: content for content in plan.contents}
    members: dict[str, list[SourceObject]] = {}
    for obj in plan.objects:
        members.setdefault(archive_of(obj.name) or obj.name, []).append(obj)
    archives = []
    for archive in plan.archives:
        inside = [obj for obj in members.get(archive.name, ()) if obj.name != archive.name or obj.note]
        whole = all(obj.note in HARMLESS_NOTES and obj.name not in broken for obj in inside)
        found = [contents[obj.content] for obj in inside if obj.content is not None]
        if found and whole:
            sets = [{to for to, offset in content.done.items() if offset >= content.length > 0} for content in found]
            archive = replace(archive, done=tuple(sorted(set.intersection(*sets))))
        archives.append(archive)
    return tuple(archives)


def _problem(entries: Entries, segment: Segment) -> bool:
    return any(entry.problem for entry in entries[segment.id].values())


def completed_lines(plan: Plan, entries: Entries) -> set[tuple[str, int]]:
    """Where lines begin that were incomplete in an earlier plan and that ``plan``, not finished yet, has read again.

    As object and offset, for each name that the log has had. Another log may have had the same name before it was
    rotated: what may be its incomplete line is left out.
    """
    read: set[tuple[str, int]] = set()
    unread: set[tuple[str, int]] = set()
    for content in plan.contents:
        if content.resume_at is None:
            continue
        segments = [segment for segment in plan.segments if segment.content == content.id]
        again = any(
            segment.start <= content.resume_at < entry.position
            for segment in segments
            for entry in entries[segment.id].values()
        )
        names = {*content.names, *(segment.object for segment in segments)}
        (read if again else unread).update((name, content.resume_at) for name in names)
    return read - unread


def numbered_lines(plan: Plan, entries: Entries) -> Iterator[tuple[Segment, int]]:
    """The segments, content by content in the order of the objects' names, each with the number of lines before it.

    Right for every segment whose predecessors are done.
    """
    lines: dict[int, int] = {}
    first: dict[int, int] = {}
    for segment in plan.segments:
        first[segment.content] = min(segment.id, first.get(segment.content, segment.id))
    for segment in sorted(plan.segments, key=lambda segment: (first[segment.content], segment.start)):
        before = lines.get(segment.content, 0) if segment.lines_before is None else segment.lines_before
        yield segment, before
        lines[segment.content] = before + lines_of(entries[segment.id])


def _with_done(content: Content, segment: Segment, entries: Mapping[str, Entry], lines: int) -> Content:
    done = dict(content.done)
    for destination, entry in entries.items():
        # Only what is done without a gap before it counts.
        if segment.start <= done.get(destination, 0):
            done[destination] = max(done.get(destination, 0), entry.position)
    content = replace(content, done=done)
    last = max(entries.values(), key=lambda entry: entry.position)
    if last.position < content.length or (last.problem and not last.counts.lines):
        # Nothing of it was read.
        return content
    unterminated = last.unterminated and last.resume_at is None
    digest = next((entry.tail for entry in entries.values() if entry.position == last.position and entry.tail), "")
    tail = Tail(last.position, digest) if digest else content.tail
    return replace(
        content, length=last.position, lines=lines, resume_at=last.resume_at, unterminated=unterminated, tail=tail
    )

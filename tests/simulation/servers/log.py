"""One partition's log on the simulated broker: records, markers, holes, and what a read_committed reader sees."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from roadloop_runtime.records import Event
from roadloop_schemas.cloudevents import Header


@dataclass(slots=True)
class Entry:
    """A record, or the marker of a transaction's end. Satisfies the runtime's `Record`."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    timestamp: int = 0
    marker: bool = False
    aborted: bool = False
    writer: str = ""


@dataclass
class Log:
    """Entries in offset order. `opened` has the first offset of each transaction that is not yet at its end here."""

    topic: str
    partition: int
    start: int = 0
    end: int = 0
    refusing: float = 0.0
    topic_id: str = "1"
    entries: list[Entry] = field(default_factory=list)
    expired: list[Entry] = field(default_factory=list)
    opened: dict[str, int] = field(default_factory=dict)

    @property
    def stable(self) -> int:
        """Return the last stable offset: what read_committed readers call the end."""
        return min(self.opened.values(), default=self.end)

    def append(self, item: Event, writer: str = "") -> None:
        self.entries.append(
            Entry(self.topic, self.partition, self.end, item.key, item.value, item.headers, writer=writer)
        )
        if writer:
            self.opened.setdefault(writer, self.end)
        self.end += 1

    def mark(self, writer: str, commit: bool) -> None:
        """End a writer's transaction here."""
        if writer not in self.opened:
            return
        first = self.opened.pop(writer)
        if not commit:
            for entry in self.entries[self._index(first) :]:
                if entry.writer == writer and not entry.marker:
                    entry.aborted = True
        self.entries.append(Entry(self.topic, self.partition, self.end, None, None, marker=True, writer=writer))
        self.end += 1

    def leave_hole(self, size: int) -> None:
        """Skip offsets, as compaction does."""
        self.end += size

    def read(self, position: int, limit: int) -> tuple[Sequence[Entry], int]:
        """Return committed records from a position on, and the position behind them and the markers that follow."""
        found: list[Entry] = []
        stable = self.stable
        for index in range(self._index(position), len(self.entries)):
            entry = self.entries[index]
            if entry.offset >= stable:
                return found, max(position, stable)
            if not entry.marker and not entry.aborted:
                if len(found) == limit:
                    return found, entry.offset
                found.append(entry)
        return found, max(position, stable)

    def committed(self) -> Sequence[Entry]:
        return self.read(self.start, len(self.entries))[0]

    def compact(self) -> None:
        """Keep the newest committed record of each key below the last stable offset; aborted ones go, too."""
        stable, newest = self.stable, {}
        for entry in self.entries:
            if not entry.marker and not entry.aborted and entry.offset < stable:
                newest[entry.key] = entry.offset
        self.entries = [e for e in self.entries if e.offset >= stable or newest.get(e.key) == e.offset]

    def expire(self, before: int) -> None:
        """Delete what is below an offset, as retention does."""
        if before > self.start:
            kept = self._index(before)
            self.expired += self.entries[:kept]
            self.entries = self.entries[kept:]
            self.start = before

    def ever_committed(self) -> Sequence[Entry]:
        """Return all records that a read_committed reader could ever see, expired ones included."""
        gone = [entry for entry in self.expired if not entry.marker and not entry.aborted]
        return [*gone, *self.committed()]

    def _index(self, offset: int) -> int:
        return bisect_left(self.entries, offset, key=lambda entry: entry.offset)

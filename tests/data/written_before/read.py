"""What an earlier version of the code has left behind, as files."""

import json
from pathlib import Path

from roadloop_runtime.records import Record
from screen.memory.entries import TOPIC
from tests.builders import make_record

HERE = Path(__file__).parent
OF_NOVEMBER = HERE / "2026-11-28"
PARTITION = 3


def read_memory_entries(folder: Path) -> list[Record]:
    """Return the records of a partition of screen.memory.v1, tombstones among them, in the order of their offsets."""
    lines = map(json.loads, (folder / "memory_entries.jsonl").read_text().splitlines())
    return [
        make_record(
            None if line["value"] is None else line["value"].encode(),
            topic=TOPIC,
            partition=PARTITION,
            offset=line["offset"],
            key=line["key"].encode(),
            headers=tuple((name, value.encode()) for name, value in line["headers"]),
        )
        for line in lines
    ]

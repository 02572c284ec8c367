"""Each event's JSON Schema as it is published, one file each: what a reader must be ready for."""

import json
from pathlib import Path
from typing import Any

from roadloop_schemas.fields import EventBody
from roadloop_schemas.topics import EVENTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def build_snapshot(body: type[EventBody]) -> dict[str, Any]:
    """Return the schema of a body as it may be read: fields with a default may be absent."""
    return {"$schema": DIALECT, **body.model_json_schema()}


def write_snapshots(folder: Path) -> None:
    """Write `<Event>.json` for every event."""
    folder.mkdir(exist_ok=True)
    for name, body in EVENTS.items():
        (folder / f"{name}.json").write_text(json.dumps(build_snapshot(body), indent=2, ensure_ascii=False) + "\n")


def read_json_files(folder: Path) -> dict[str, Any]:
    """Read a folder of `<Event>.json`, by event."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}

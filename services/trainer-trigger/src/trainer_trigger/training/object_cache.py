"""Pictures, sets and model files that trainings have fetched, kept for the next one."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from roadloop_schemas.fields import ObjectRef

Fetch = Callable[[ObjectRef], Awaitable[bytes]]
KEPT_FOR = timedelta(days=14)  # after they were last asked for


@dataclass(frozen=True, slots=True)
class ObjectCache:
    """Objects by their sha256, in a folder."""

    folder: Path
    fetch: Fetch

    async def get(self, reference: ObjectRef) -> Path:
        """Return the file with an object's bytes, fetched and checked once."""
        path = self.folder / reference.sha256[:2] / reference.sha256
        if not _touched(path):
            await asyncio.to_thread(_keep, path, await self.fetch(reference))
        return path

    def forget_unused(self, now: datetime) -> None:
        """Remove objects that nobody has asked for in a long time."""
        before = now - KEPT_FOR
        for path in self.folder.glob("*/*"):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()


def _touched(path: Path) -> bool:
    """Say whether a file is there, and note that it is still wanted."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; two at once write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="partial-", delete=False) as partial:
        partial.write(content)
    Path(partial.name).replace(path)

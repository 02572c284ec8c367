"""Files and folders of a stack that nobody else may read."""

import os
from pathlib import Path

from roadloop_local.errors import StackError


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def make_private(folder: Path) -> None:
    """Make a folder that only its owner enters; refuse one that somebody else made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StackError(f"{folder} belongs to somebody else: remove it and run `roadloop up` again")

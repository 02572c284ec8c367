"""What is settled once per data folder, at the first `up`: ports, secrets and names."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from roadloop_local.errors import StackError
from roadloop_local.ports import choose_ports


@dataclass(frozen=True)
class Layout:
    """One stack's folder, its tag (16 hex digits, unique per stack), its ports and its secrets."""

    data: Path
    tag: str
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    reach: Mapping[str, int] = field(default_factory=dict)

    def with_reach(self, reach: Mapping[str, int]) -> "Layout":
        """Return the layout with other ports at which services reach servers."""
        return replace(self, reach=reach)

    @property
    def models(self) -> Path:
        """Return the folder that Triton loads models from."""
        return self.data / "models"

    @property
    def sockets(self) -> Path:
        """Return the private folder for Unix sockets, short because a socket's path has 107 bytes at most."""
        return Path(f"/tmp/roadloop-{self.tag}")  # noqa: S108 made with mode 0700 and checked by `make_private`

    @property
    def shm_prefix(self) -> str:
        """Return what the names of this stack's files in /dev/shm begin with."""
        return f"roadloop_{self.tag}_"

    def log(self, program: str) -> Path:
        """Return the file that holds what a program printed."""
        return self.data / "logs" / f"{program}.log"

    def address(self, port: str) -> str:
        """Return host:port of a named port."""
        return f"127.0.0.1:{self.ports[port]}"

    def for_services(self) -> "Layout":
        """Return the layout as services see it: with the ports at which they reach servers."""
        return replace(self, ports={**self.ports, **self.reach})


def read_layout(data: Path) -> Layout:
    """Return what was settled for a data folder, or raise `StackError` where nothing was."""
    path = data / "stack.json"
    try:
        stack_json = json.loads(path.read_text())
    except FileNotFoundError:
        raise StackError(f"no stack in {data}: start one with `roadloop up --data {data}`") from None
    except (OSError, ValueError) as error:
        raise StackError(
            f"cannot read {path} ({error}): restore it, or delete the folder and run `roadloop up`"
        ) from error
    return Layout(data, stack_json["tag"], stack_json["ports"], stack_json["secrets"])


def settle_layout(data: Path, port_names: Iterable[str], secret_names: Iterable[str]) -> Layout:
    """Return the layout of a data folder; choose what is missing and keep it in `stack.json` (mode 0600)."""
    data.mkdir(parents=True, exist_ok=True)
    exists = (data / "stack.json").exists()
    old_layout = read_layout(data) if exists else Layout(data, secrets.token_hex(8), {}, {})
    chosen_secrets = {name: old_layout.secrets.get(name) or secrets.token_hex(20) for name in secret_names}
    layout = Layout(
        data, old_layout.tag, choose_ports(port_names, old_layout.ports), {**old_layout.secrets, **chosen_secrets}
    )
    if layout != old_layout or not exists:
        settled = {"tag": layout.tag, "ports": layout.ports, "secrets": layout.secrets}
        write_private(data / "stack.json", json.dumps(settled, indent=2) + "\n")
    return layout


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

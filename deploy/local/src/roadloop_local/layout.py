"""What was settled once for a data folder: ports, secrets and names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from roadloop_local.errors import StackError


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

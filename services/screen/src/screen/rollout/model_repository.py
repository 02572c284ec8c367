"""The model repository on disk: a version is built in a staging folder and renamed into place, never edited."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from roadloop_schemas.models import ModelReleased

SERVING = ("model.py", "detector.py", "answer.py", "canvas.py", "card.py")  # what a version directory stands alone with


def holds(repository: Path, model: str, version: int) -> bool:
    return (repository / model / str(version)).is_dir()


def publish(repository: Path, release: ModelReleased, weights: bytes) -> None:
    """Write a release as a new version. The rename makes it appear whole or not at all."""
    model = repository / release.model
    model.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=repository))
    (staging / "model.onnx").write_bytes(weights)
    (staging / "detector.json").write_text(release.card.model_dump_json())
    for name in SERVING:
        (staging / name).write_text(read_template(name))
    staging.chmod(0o755)
    try:
        staging.rename(model / str(release.version))
    except OSError:  # another attempt was faster; versions are never replaced
        shutil.rmtree(staging)
        if not holds(repository, release.model, release.version):
            raise


@dataclass(frozen=True)
class Instances:
    """How many instances of a model run, and where: `auto` is on each GPU that the server sees, else on the CPU."""

    count: int = 2
    kind: Literal["auto", "cpu", "gpu"] = "auto"


def make_config(model: str, versions: Sequence[int], epoch: int, instances: Instances) -> dict[str, Any]:
    """Return the full configuration: overrides stick in the server, so all of it is sent every time.

    A changed epoch makes the server start its instances anew, which heals a dead stub.
    """
    full: dict[str, Any] = json.loads(read_template("config.json"))
    full["name"] = model
    full["instance_group"] = [{"count": instances.count, "kind": f"KIND_{instances.kind.upper()}"}]
    full["version_policy"] = {"specific": {"versions": list(versions)}}
    full.setdefault("parameters", {})["epoch"] = {"string_value": str(epoch)}
    return full


def read_template(name: str) -> str:
    """Read a file that goes with the package: what runs inside the model server."""
    return files("screen").joinpath("serving", name).read_text()

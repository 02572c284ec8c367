"""Runs and versions as the interface and the commands show them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trainer_trigger.tables.model_table import Listed
from trainer_trigger.tables.run import Run


def run_to_json(run: Run) -> Mapping[str, Any]:
    """Return a run as the interface shows it."""
    shown = asdict(run) | {"state": run.state.value, "kind": run.kind.value}
    shown["spec"] = run.spec.model_dump(mode="json")
    shown["offer"] = run.offer.model_dump(mode="json") if run.offer else None
    return shown


def version_to_json(version: Listed) -> Mapping[str, Any]:
    """Return a version as the interface shows it."""
    release = version.release
    return {
        "version": release.version,
        "serves": version.serving_since is not None,
        "serving_since": version.serving_since,
        "rollout": version.rollout,
        "released_at": release.released_at,
        "run_id": release.run_id,
        "previous_version": release.previous_version,
        "map50": version.map50,
        "metrics": release.metrics,
        "weights": release.weights.model_dump(),
    }

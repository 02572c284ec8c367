"""What really happened, read from outside as a downstream team would: from the topics, the books and the metrics."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
import numpy as np

from roadloop_audit.commands import places_of
from roadloop_audit.settled import audit_settled
from roadloop_local.addresses import Stack
from roadloop_schemas.frames import FrameScreened, VerdictReason
from roadloop_schemas.models import ModelServing, ServingState, TrainingChanged, TrainingState
from roadloop_world.subscriber import duplicates_seen, read_topic

# Kept or dropped whatever the score: these say nothing of the threshold.
USELESS = {VerdictReason.BLURRED, VerdictReason.BADLY_EXPOSED, VerdictReason.NEAR_DUPLICATE}


@dataclass(frozen=True, slots=True)
class Told:
    """One verdict, whose frame it is, and when it was written, in milliseconds since 1970."""

    tenant: str
    verdict: FrameScreened
    written_ms: int


async def verdicts(stack: Stack) -> list[Told]:
    records = await read_topic(stack.kafka_bootstrap, "frames.screened.v1")
    records.sort(key=lambda record: record.timestamp)
    return [
        Told(dict(r.headers)["ce_tenant"].decode(), FrameScreened.model_validate_json(r.value or b""), r.timestamp)
        for r in records
    ]


async def trainings(stack: Stack) -> list[TrainingChanged]:
    records = await read_topic(stack.kafka_bootstrap, "trainings.changed.v1")
    return [TrainingChanged.model_validate_json(record.value or b"") for record in records]


async def serving(stack: Stack) -> dict[str, int]:
    """Return the serving version of each model."""
    records = await read_topic(stack.kafka_bootstrap, "models.serving.v1")
    told = [ModelServing.model_validate_json(record.value or b"") for record in records]
    return {said.model: said.version for said in told if said.state is ServingState.SERVING}


async def on_trial(stack: Stack, model: str) -> str:
    """Say how a version of a model is tried on live frames now; "" where none is."""
    told = await stages(stack, model)
    return told[-1].name if told and told[-1].tried else ""


class Stage(NamedTuple):
    """What serves from a moment on (ms since 1970), and how the version on its way, `tried`, is tried."""

    name: str
    tried: int | None
    since_ms: int


async def stages(stack: Stack, model: str) -> list[Stage]:
    """Return what was said of a model's serving, in order."""
    records = await read_topic(stack.kafka_bootstrap, "models.serving.v1")
    told = [(ModelServing.model_validate_json(r.value or b""), r.timestamp) for r in records]
    mine = [(said, at) for said, at in told if said.model == model and said.state is ServingState.SERVING]
    return [Stage(_in_words(said), said.candidate.version if said.candidate else None, at) for said, at in mine]


def _in_words(said: ModelServing) -> str:
    tried = said.candidate
    return f"version {said.version} serves" if tried is None else f"version {tried.version} {tried.in_words}"


def rollout(told: Sequence[Stage], seen: Sequence[Told], tenant: str) -> list[dict[str, Any]]:
    """Return, stage by stage, how many of a tenant's frames came, the new version's part of them, and what was kept."""
    newest = next((stage.tried for stage in reversed(told) if stage.tried), None)
    ends = [*(stage.since_ms for stage in told[1:]), float("inf")]
    found: list[dict[str, Any]] = []
    for stage, end in zip(told, ends, strict=False):  # nothing was told, or each ends with the next
        mine = [one.verdict for one in seen if one.tenant == tenant and stage.since_ms <= one.written_ms < end]
        shadows = [one.shadow for one in mine if one.shadow and one.shadow.version == newest]
        row = {
            "stage": stage.name,
            "frames": len(mine),
            "looked": sum(not shadow.failure for shadow in shadows),
            "judged": sum(one.models is not None and one.models.version == newest for one in mine),
            "failed": sum(bool(shadow.failure) for shadow in shadows),
            "kept": sum(one.verdict == "kept" for one in mine),
        }
        found.append(row)
    return found


def threshold_for(told: Sequence[FrameScreened], *, keep: float, audit: float) -> float:
    """Return the threshold that would have kept a share `keep` of these frames, the audit included.

    Only frames the rules let through compete for what the audit leaves over; the share is of all.
    """
    scores = [v.score for v in told if v.score is not None and not USELESS & set(v.reasons)]
    if not scores:
        return 1.0
    share = min(1.0, max(0.0, (keep - audit) * len(told) / len(scores)))
    return float(np.clip(np.quantile(scores, 1 - share), 0.0, 1.0))


async def failed_requests(stack: Stack) -> int:
    """Return how many inference requests failed, as screening counted them and as the model server did."""
    async with httpx.AsyncClient(timeout=10) as client:
        ours = (await client.get(f"http://{stack.health_address('screen')}/metrics/")).text
        theirs = (await client.get(f"http://{stack.triton_metrics}/metrics")).text
    return _total(ours, "roadloop_inference_failures_total") + _total(theirs, "nv_inference_request_failure")


def _total(text: str, name: str) -> int:
    return round(sum(float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE)))


def map_by_version(told: Sequence[TrainingChanged]) -> dict[str, dict[str, float]]:
    """Return mAP at overlap 0.5 per version and condition, as the gate measured it."""
    released = {run.run_id: run.candidate_version for run in told if run.state is TrainingState.RELEASED}
    found: dict[str, dict[str, float]] = {}
    for run in told:
        if run.state is TrainingState.EVALUATED:
            found.setdefault(f"v{run.base_version}", _conditions(run.metrics, "serving.map50"))
            name = f"v{released[run.run_id]}" if run.run_id in released else f"refused {run.run_id[:6]}"
            found[name] = _conditions(run.metrics, "map50")
    return found


def _conditions(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    named = {key.removeprefix(prefix).lstrip("."): value for key, value in metrics.items() if key.startswith(prefix)}
    return {(condition or "mean"): round(value, 4) for condition, value in named.items()}


async def report(stack: Stack, books: Mapping[str, Any], tenant: str, seconds: float) -> dict[str, Any]:
    """Gather the figures of a whole run; `tenant` is the one whose model was trained."""
    told = await trainings(stack)
    states = Counter(run.state for run in told)
    seen = await verdicts(stack)
    frames = books["frames"]
    return {
        "received": books["announced"],
        "ingested": books["ingested"],
        "files": books["files"],
        "fates": {fate: frames.get(fate, 0) for fate in ("kept", "dropped", "quarantined", "dead_lettered")},
        "reasons": dict(Counter(reason.value for item in seen for reason in item.verdict.reasons)),
        "in_flight": frames.get("in_flight", 0),
        "labels": books["labelled"],
        "trained": books["trained"],
        "runs": len({run.run_id for run in told}),
        "releases": states[TrainingState.RELEASED],
        "refused_releases": states[TrainingState.REFUSED],
        "failed_runs": states[TrainingState.FAILED],
        "failed_requests": await failed_requests(stack),
        "duplicates_seen": await duplicates_seen(stack.kafka_bootstrap),
        "serving": await serving(stack),
        "rollout": rollout(await stages(stack, f"detector.{tenant}"), seen, tenant),
        "map": map_by_version(told),
        "balanced": books["balanced"],
        "audit": [finding._asdict() for finding in await audit_settled(places_of(stack))],
        "seconds": round(seconds, 1),
    }

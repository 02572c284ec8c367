"""The figures of a round of the loop: of what an onlooker has seen, and of what is asked for at its end."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx
import numpy as np

from roadloop_audit.places import places_of
from roadloop_audit.settled import audit_settled
from roadloop_local.addresses import Stack
from roadloop_schemas.frames import FrameScreened, VerdictReason
from roadloop_schemas.models import TrainingChanged, TrainingState
from roadloop_world.actors.subscriber import count_duplicates
from roadloop_world.demo.loop_state import LoopState, ScreenedFrame, Stage

# Kept or dropped whatever the score: these say nothing of the threshold.
USELESS = {VerdictReason.BLURRED, VerdictReason.BADLY_EXPOSED, VerdictReason.NEAR_DUPLICATE}


def summarise_rollout(stages: Sequence[Stage], frames: Sequence[ScreenedFrame], tenant: str) -> list[dict[str, Any]]:
    """Return, stage by stage, how many of a tenant's frames came, the new version's part of them, and what was kept."""
    newest = next((stage.tried for stage in reversed(stages) if stage.tried), None)
    ends = [*(stage.since_ms for stage in stages[1:]), float("inf")]
    rows: list[dict[str, Any]] = []
    for stage, end in zip(stages, ends, strict=False):  # there is none, or each ends with the next
        verdicts = [f.verdict for f in frames if f.tenant == tenant and stage.since_ms <= f.written_ms < end]
        shadows = [verdict.shadow for verdict in verdicts if verdict.shadow and verdict.shadow.version == newest]
        row = {
            "stage": stage.name,
            "frames": len(verdicts),
            "looked": sum(not shadow.failure for shadow in shadows),
            "judged": sum(verdict.models is not None and verdict.models.version == newest for verdict in verdicts),
            "failed": sum(bool(shadow.failure) for shadow in shadows),
            "kept": sum(verdict.verdict == "kept" for verdict in verdicts),
        }
        rows.append(row)
    return rows


def choose_threshold(verdicts: Sequence[FrameScreened], *, keep: float, audit: float) -> float:
    """Return the threshold that would have kept a share `keep` of these frames, the audit included.

    Only frames the rules let through compete for what the audit leaves over; the share is of all.
    """
    scores = [v.score for v in verdicts if v.score is not None and not USELESS & set(v.reasons)]
    if not scores:
        return 1.0
    share = min(1.0, max(0.0, (keep - audit) * len(verdicts) / len(scores)))
    return float(np.clip(np.quantile(scores, 1 - share), 0.0, 1.0))


async def count_repeated_requests(stack: Stack) -> int:
    """Return how many inference requests were not answered, and so were sent again, as screening counted them.

    A model server that was killed and came back is no loss: its frames are asked about again.
    """
    async with httpx.AsyncClient(timeout=30) as client:
        text = (await client.get(f"http://{stack.health_address('screen')}/metrics/")).text
    kinds = re.findall(r'^roadloop_inference_failures_total{kind="(\w+)"} (\S+)$', text, re.MULTILINE)
    return round(sum(float(count) for kind, count in kinds if kind != "refused"))


def collect_map(changes: Iterable[TrainingChanged]) -> dict[str, dict[str, float]]:
    """Return mAP at overlap 0.5 per version and condition, as the gate measured it; offers last."""
    ordered = sorted(changes, key=lambda run: run.labels == 0)
    released = {run.run_id: run.candidate_version for run in ordered if run.state is TrainingState.RELEASED}
    scores: dict[str, dict[str, float]] = {}
    for run in ordered:
        if run.state is TrainingState.EVALUATED:
            scores.setdefault(f"v{run.base_version}", _select_conditions(run.metrics, "serving.map50"))
            name = f"v{released[run.run_id]}" if run.run_id in released else f"refused {run.run_id[:6]}"
            scores[name] = _select_conditions(run.metrics, "map50")
    return scores


def _select_conditions(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    values = {key.removeprefix(prefix).lstrip("."): value for key, value in metrics.items() if key.startswith(prefix)}
    return {(condition or "mean"): round(value, 4) for condition, value in values.items()}


def summarise(state: LoopState, tenant: str, seconds: float) -> dict[str, Any]:
    """Return the figures of what was seen so far; `tenant` is the one whose model is trained."""
    books, frames = state.books, state.books.get("frames", {})
    runs = Counter(changes[-1].state for changes in state.runs.values())
    return {
        "received": books.get("announced", 0),
        "ingested": books.get("ingested", 0),
        "files": books.get("files", {}),
        "fates": {fate: frames.get(fate, 0) for fate in ("kept", "dropped", "quarantined", "dead_lettered")},
        "reasons": dict(Counter(reason.value for frame in state.verdicts for reason in frame.verdict.reasons)),
        "in_flight": state.in_flight,
        "labels": books.get("labelled", 0),
        "trained": books.get("trained", 0),
        "runs": len(state.runs),
        "releases": runs[TrainingState.RELEASED],
        "refused_releases": runs[TrainingState.REFUSED],
        "failed_runs": runs[TrainingState.FAILED],
        "serving": {model: stages[-1].version for model, stages in state.stages.items()},
        "rollout": summarise_rollout(state.stages.get(f"detector.{tenant}", []), state.verdicts, tenant),
        "map": collect_map(run for changes in state.runs.values() for run in changes),
        "balanced": books.get("balanced", False),
        "seconds": round(seconds, 1),
        "repeated_requests": None,
        "duplicates_seen": None,
        "audit": None,
        "complete": False,
        "ended_early": "",
    }


async def ask_at_the_end(stack: Stack) -> dict[str, Any]:
    """Ask what only a loop at rest can answer: who reads everything again, and who counts."""
    return {
        "repeated_requests": await count_repeated_requests(stack),
        "duplicates_seen": await count_duplicates(stack.kafka_bootstrap),
        "audit": [finding._asdict() for finding in await audit_settled(places_of(stack))],
        "complete": True,
    }

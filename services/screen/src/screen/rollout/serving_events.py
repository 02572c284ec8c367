"""What is said on `models.serving.v1`: the version that serves, and the one on its way. Pure."""

from datetime import datetime

from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import Candidate, ModelReleased, ModelServing, RolloutStage
from roadloop_schemas.topics import MODELS_SERVING

SERVING = MODELS_SERVING


def make_candidate(release: ModelReleased, second: ModelServing | None, stage: tuple[RolloutStage, float]) -> Candidate:
    """Return a release as a version in a stage, with its share of units."""
    return Candidate(
        version=release.version,
        release_id=release.release_id,
        stage=stage[0],
        share=stage[1],
        second_model=second.model if second else None,
        second_version=second.version if second else None,
        card=release.card,
        prelabels=release.prelabels,
    )


def make_serving(
    release: ModelReleased, serving_before: ModelServing | None, second: ModelServing | None, *, since: datetime
) -> ModelServing:
    """Return a release as what serves from a moment on, after what served before."""
    return ModelServing(
        model=release.model,
        version=release.version,
        release_id=release.release_id,
        previous_version=_find_previous_version(release, serving_before),
        second_model=second.model if second else None,
        second_version=second.version if second else None,
        card=release.card,
        prelabels=release.prelabels,
        serving_since=since,
    )


def _find_previous_version(release: ModelReleased, serving_before: ModelServing | None) -> int | None:
    """Return what served before a release; a rollback to what serves leaves that as it was."""
    if serving_before is None or serving_before.version != release.version:
        return serving_before.version if serving_before else None
    return serving_before.previous_version


def make_event(serving: ModelServing, tenant: str, key: str, *mark: str) -> Event:
    """Return what is said as an event; `mark` tells it from another that says the same later."""
    candidate = serving.candidate
    stage = (candidate.release_id, candidate.stage, candidate.share) if candidate else ()
    return to_cloud_event(
        SERVING,
        serving,
        id=derive_id("serving", serving.release_id, serving.state, *stage, *mark),
        source="/roadloop/screen/rollout",
        tenant=tenant,
        key=key,
        time=serving.serving_since,
        subject=serving.model,
    )

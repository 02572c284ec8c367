"""What is said on `models.serving.v1`: the version that serves, and the one on its way. Pure."""

from datetime import datetime

from roadloop_runtime.records import Event, to_cloud_event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import Candidate, ModelReleased, ModelServing, RolloutStage
from roadloop_schemas.topics import MODELS_SERVING

SERVING = MODELS_SERVING


def on_trial(release: ModelReleased, second: ModelServing | None, stage: tuple[RolloutStage, float]) -> Candidate:
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


def served(
    release: ModelReleased, before: ModelServing | None, second: ModelServing | None, *, since: datetime
) -> ModelServing:
    """Return a release as what serves from a moment on, after what served before."""
    return ModelServing(
        model=release.model,
        version=release.version,
        release_id=release.release_id,
        previous_version=_previous(release, before),
        second_model=second.model if second else None,
        second_version=second.version if second else None,
        card=release.card,
        prelabels=release.prelabels,
        serving_since=since,
    )


def _previous(release: ModelReleased, before: ModelServing | None) -> int | None:
    """Return what served before a release; a rollback to what serves leaves that as it was."""
    if before is None or before.version != release.version:
        return before.version if before else None
    return before.previous_version


def told(said: ModelServing, tenant: str, key: str, *mark: str) -> Event:
    """Return what is said as an event; `mark` tells it from another that says the same later."""
    tried = said.candidate
    stage = (tried.release_id, tried.stage, tried.share) if tried else ()
    return to_cloud_event(
        SERVING,
        said,
        id=derive_id("serving", said.release_id, said.state, *stage, *mark),
        source="/roadloop/screen/rollout",
        tenant=tenant,
        key=key,
        time=said.serving_since,
        subject=said.model,
    )

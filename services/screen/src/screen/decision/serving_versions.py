"""A version that is on its way to serving: which units try it, and as what it judges them. Pure."""

from dataclasses import dataclass
from hashlib import blake2b

from roadloop_schemas.frames import ModelPair
from roadloop_schemas.models import Candidate, ModelServing, PrelabelPolicy
from screen.decision.frame_keys import eye_of


def draw_candidate(serving: ModelServing, unit_id: str) -> Candidate | None:
    """Return the version that a unit was drawn to try; None for most, and where none is on its way.

    A unit's lot follows from its id and the release: a replay draws the same, and a larger share only adds units.
    """
    candidate = serving.candidate
    if candidate is None:
        return None
    lot = blake2b(f"{candidate.release_id}/{unit_id}".encode(), digest_size=7).digest()
    return candidate if int.from_bytes(lot, "big") / 2**56 < candidate.share else None


def serving_pair(serving: ModelServing) -> ModelPair:
    """Return the models that judge; the second one only where a version of it serves."""
    return _pair(serving.model, serving)


def candidate_pair(serving: ModelServing) -> ModelPair | None:
    """Return the models that will judge, if any is on its way."""
    return None if serving.candidate is None else _pair(serving.model, serving.candidate)


def _pair(model: str, versions: ModelServing | Candidate) -> ModelPair:
    return ModelPair(
        name=model,
        version=versions.version,
        second_name=versions.second_model if versions.second_version is not None else None,
        second_version=versions.second_version,
    )


@dataclass(frozen=True, slots=True)
class JudgingModels:
    """Who judges a unit's frames, by whose eye they are compared, and which versions' thresholds are remembered.

    `versions` begin with the one that judges. `tried` is the pair that is on its way, if any.
    """

    models: ModelPair
    eye: str
    versions: tuple[int, ...]
    prelabels: PrelabelPolicy
    tried: ModelPair | None


def choose_judges(serving: ModelServing, *, by_candidate: bool) -> JudgingModels:
    """Return who judges a unit: what serves, or the version on its way, where the unit was drawn for it."""
    tried, candidate = candidate_pair(serving), serving.candidate
    models, prelabels = serving_pair(serving), serving.prelabels
    eye = eye_of(models)
    if by_candidate and tried is not None and candidate is not None:
        models, prelabels = tried, candidate.prelabels
    return JudgingModels(models, eye, put_first(models.version, remembered_versions(serving)), prelabels, tried)


def remembered_versions(serving: ModelServing) -> tuple[int, ...]:
    """Return the versions whose thresholds are remembered: what serves, what served before, and what is on its way."""
    others = (serving.previous_version, serving.candidate.version if serving.candidate else None)
    return tuple(dict.fromkeys((serving.version, *(version for version in others if version is not None))))


def put_first(version: int, among: tuple[int, ...]) -> tuple[int, ...]:
    """Return versions with one of them as the one that scores; the others stand in for it."""
    return (version, *(other for other in among if other != version))

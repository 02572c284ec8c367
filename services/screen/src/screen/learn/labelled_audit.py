"""What the audit teaches: a better score, and what empty roads look like. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from roadloop_schemas.fields import Condition, LabelBox
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.policies import EmptyScenes, ScreenPolicy
from screen.decision import score
from screen.decision.frame_keys import eye_of
from screen.learn.predictor import fit, is_better
from screen.memory.keep_rate import quantile
from screen.vision.detections import Box
from screen.vision.embedding import from_text, unpack
from screen.vision.label_errors import SERVED_FROM, count_errors

LEAST_HARD = 30
FRESH, FRESH_HARD, FRESH_AT_MOST = 100, 10, 2_000
DAYS = timedelta(days=14)
EMPTIES = 64
EMPTIES_LOOKED_AT = 1_000
NEW_EMPTIES = 8


@dataclass(frozen=True, slots=True)
class AuditedFrame:
    """What is kept of a verdict on a frame of the audit; `embedding` is that of the network `eye`, as text."""

    frame_id: str
    received_at: datetime
    condition: Condition
    parts: Mapping[str, float]
    boxes: tuple[Box, ...]
    embedding: str
    eye: str


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A frame of the audit with what people saw in it, since when."""

    frame: AuditedFrame
    labels: tuple[LabelBox, ...]
    at: datetime

    def hardness(self, policy: ScreenPolicy) -> float:
        """Return how hard the frame was, 0..1: its errors in parts of what the policy calls hard."""
        return min(1.0, count_errors(self.frame.boxes, self.labels) / policy.hard_errors)


def read_audited_frame(verdict: FrameScreened) -> AuditedFrame:
    """Return what is kept of a verdict: of its detections those that count as such."""
    claims = (detection for detection in verdict.detections if detection.score >= SERVED_FROM)
    boxes = tuple(Box(claim.x1, claim.y1, claim.x2, claim.y2, claim.score, claim.class_name) for claim in claims)
    eye = eye_of(verdict.models) if verdict.models else ""
    frame_fields = (verdict.frame_id, verdict.received_at, verdict.condition, verdict.score_parts)
    return AuditedFrame(*frame_fields, boxes, verdict.embedding, eye)


def improve_policy(labelled_frames: Sequence[LabelledFrame], policy: ScreenPolicy) -> ScreenPolicy | None:
    """Return the policy with what the audit has taught since; None where that is nothing, or nobody asks for it.

    A predictor needs thresholds that follow the scores, so a controlled policy; empty scenes one that drops their like.
    """
    better = propose(labelled_frames, policy) if policy.controlled else None
    scenes = choose_empty_scenes(labelled_frames) if policy.no_target_cosine else None
    if scenes is None or not _has_news(scenes, policy.empty_scenes):
        return better
    return (better or policy).model_copy(update={"empty_scenes": scenes})


def _has_news(scenes: EmptyScenes, known_scenes: EmptyScenes | None) -> bool:
    """Say whether enough is new to be worth a version of the policy."""
    if known_scenes is None or known_scenes.eye != scenes.eye:
        return True
    return len(set(scenes.scenes) - set(known_scenes.scenes)) >= NEW_EMPTIES


def select_recent(labelled_frames: Sequence[LabelledFrame]) -> list[LabelledFrame]:
    """Return the labelled frames of the last 14 days that have a score, in the order their labels came."""
    scored = [labelled for labelled in labelled_frames if labelled.frame.parts]
    ordered = sorted(scored, key=lambda labelled: (labelled.at, labelled.frame.frame_id))
    return [labelled for labelled in ordered if labelled.at > ordered[-1].at - DAYS]


def propose(labelled_frames: Sequence[LabelledFrame], policy: ScreenPolicy) -> ScreenPolicy | None:
    """Return the policy with a predictor that is better than what is in force; None where there is none.

    It is fitted on all but the newest frames of the audit, which come to at least 30 hard ones, and has to order these
    fresh ones better: at least 100, which come to 10 hard ones. A frame with fewer errors than a hard one counts in
    part: few frames are hard, and every error teaches. The threshold that comes with it lets the keep budget through.
    """
    ordered = select_recent(labelled_frames)
    hard = [labelled.hardness(policy) for labelled in ordered]
    fresh = _count_fresh(hard)
    old = len(ordered) - fresh
    if not fresh or not LEAST_HARD <= sum(hard[:old]) < old or len(set(hard[old:])) == 1:
        return None
    parts = [labelled.frame.parts for labelled in ordered]
    conditions = [labelled.frame.condition for labelled in ordered]
    predictor = fit(parts[:old], conditions[:old], hard[:old]).model_copy(update={"fitted_until": ordered[old - 1].at})
    if policy.predictor and policy.predictor.fitted_until and policy.predictor.fitted_until >= ordered[old - 1].at:
        return None
    frames = list(zip(parts, conditions, strict=True))
    new_scores = [score.chance(*frame, predictor) for frame in frames]
    old_scores = [score.combine(*frame, policy) for frame in frames[old:]]
    if not is_better(new_scores[old:], old_scores, hard[old:]):
        return None
    return policy.model_copy(update={"predictor": predictor, "threshold": choose_start_threshold(new_scores, policy)})


def _count_fresh(hard: Sequence[float]) -> int:
    """Return how many of the newest frames are to judge a fit: at least 100, as hard as 10; 0 for too few.

    Beyond 2,000 it is given up: what is hard that rarely needs another meaning of hard.
    """
    hardness = 0.0
    for count, frame_hardness in enumerate(reversed(hard[-FRESH_AT_MOST:]), 1):
        hardness += frame_hardness
        if count >= FRESH and hardness >= FRESH_HARD:
            return count
    return 0


def choose_start_threshold(scores: Sequence[float], policy: ScreenPolicy) -> float:
    """Return the threshold until slices have their own: the audit is a fair sample, so its quantile is that of all."""
    share_left = max(0.0, policy.keep_budget - policy.audit_share) / max(1e-9, 1 - policy.audit_share)
    return quantile(scores, min(1.0, share_left))


def choose_empty_scenes(labelled_frames: Sequence[LabelledFrame]) -> EmptyScenes | None:
    """Return up to 64 embeddings of frames in which people saw nothing, as unlike each other as can be.

    The newest one comes first, then always the one that is farthest from those chosen (Gonzalez, 1985). They are of
    the network that looked at the newest one: what networks make cannot be compared.
    """
    empty = [labelled for labelled in labelled_frames if not labelled.labels and labelled.frame.embedding]
    newest_first = sorted(empty, key=lambda labelled: (labelled.at, labelled.frame.frame_id), reverse=True)
    newest = newest_first[:EMPTIES_LOOKED_AT]
    if not newest:
        return None
    eye = newest[0].frame.eye
    texts = [labelled.frame.embedding for labelled in newest if labelled.frame.eye == eye]
    chosen = _choose_farthest(np.stack([unpack(from_text(text)) for text in texts]))
    return EmptyScenes(eye=eye, scenes=tuple(texts[place] for place in chosen))


def _choose_farthest(vectors: NDArray[np.float32]) -> list[int]:
    """Return the rows of [N, D] that are chosen, the first one first."""
    spread = vectors.std(0)
    standard = (vectors - vectors.mean(0)) / np.where(spread > 0, spread, 1)
    chosen, distance = [0], np.linalg.norm(standard - standard[0], axis=1)
    while len(chosen) < EMPTIES and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(standard - standard[chosen[-1]], axis=1))
    return chosen

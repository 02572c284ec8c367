"""What is known of a frame before anything is decided: from what the models saw, and what is remembered. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from roadloop_schemas.frames import IngestedFrame
from roadloop_schemas.policies import ScreenPolicy
from screen.decision import score
from screen.decision.frame_keys import FrameKeys
from screen.decision.model_disagreement import measure_disagreement
from screen.decision.near_duplicates import Likeness, Picture, compare
from screen.decision.scene_distance import Scene, compare_with_empty
from screen.memory.keep_rules import select_matching
from screen.memory.state import Memory
from screen.vision.detections import Judged, Unjudged
from screen.vision.temporal_consistency import REACH, measure_inconsistency

CANDIDATE = 0.05
NO_PARTS: Mapping[str, float] = MappingProxyType({})


class Facts(NamedTuple):
    """All that a frame is decided from; a verdict carries it, so that it can be decided again.

    `lot` is uniform in [0, 1). `parts` are those of the score, none where `unjudged`. `nearest_bits` (of 64) and
    `nearest_step` are to the nearest kept frame of its camera, `nearest_cosine` is to the nearest kept scene of its
    slice, `light_change` is from the last kept frame of its camera; None where that is not known. A step is a multiple
    of what usually lies between two pictures of the slice.
    It and what follows from it are tuples: history makes a million of them anew, and those take a third of the time.
    """

    frame_id: str
    keys: FrameKeys
    lot: float
    brightness: float
    laplacian_variance: float
    parts: Mapping[str, float] = NO_PARTS
    nearest_bits: int | None = None
    nearest_step: float | None = None
    nearest_cosine: float | None = None
    light_change: float | None = None
    new_object: bool = False
    nothing_there: bool = False
    like_empty: float | None = None
    matched: tuple[str, ...] = ()
    unjudged: Unjudged | None = None


def gather_facts(
    memory: Memory,
    frame: IngestedFrame,
    keys: FrameKeys,
    neighbours: Sequence[Judged | Unjudged],
    at: int,
    *,
    policy: ScreenPolicy,
    picture: Picture,
    scene: Scene,
    lot: float,
) -> Facts:
    """Return a frame's facts; it is number `at` of its `neighbours`, the frames of its unit as they were taken."""
    answer = neighbours[at]
    measured = (frame.frame_id, keys, lot, frame.brightness, frame.laplacian_variance)
    if isinstance(answer, Unjudged):
        return Facts(*measured, unjudged=answer)
    like = compare(memory, keys, picture, scene)
    nothing_there = _nothing_there(neighbours, at)
    return Facts(
        *measured,
        score_parts(answer, neighbours, at, policy=policy, scene=scene, cosine=like.nearest_cosine),
        *like,
        nothing_there=nothing_there,
        like_empty=compare_with_empty(memory, keys, policy, scene) if nothing_there else None,
        matched=select_matching(policy.rules, frame, answer.all_boxes),
    )


def score_parts(
    answer: Judged,
    neighbours: Sequence[Judged | Unjudged],
    at: int,
    *,
    policy: ScreenPolicy,
    scene: Scene,
    cosine: float | None,
) -> dict[str, float]:
    """Score a frame by every part that can be had."""
    parts = {
        "uncertainty": score.uncertainty(answer.boxes, policy.class_weights),
        "low_top_score": score.low_top_score(answer.boxes),
        "crowd": score.crowd(answer.boxes),
        "objects": score.objects(answer.boxes),
        "overlap": score.overlap(answer.boxes),
        "inconsistency": measure_inconsistency([n.boxes if isinstance(n, Judged) else () for n in neighbours], at),
    }
    if answer.second is not None:
        parts["disagreement"] = measure_disagreement(answer.boxes, answer.second, policy.class_weights)
    if scene.unusual is not None:
        parts["unusual"] = scene.unusual
    return add_novelty({name: round(value, 6) for name, value in parts.items()}, cosine)


def add_novelty(parts: Mapping[str, float], cosine: float | None) -> dict[str, float]:
    """Return the parts of a score with that of the nearest kept scene; none where nothing can be compared."""
    others = {name: value for name, value in parts.items() if name != "novelty"}
    return others if cosine is None else others | {"novelty": round(min(1.0, 1 - cosine), 6)}


def compare_anew(facts: Facts, like: Likeness) -> Facts:
    """Return the facts of a frame beside other kept pictures than those it was compared with."""
    return facts._replace(**like._asdict(), parts=add_novelty(facts.parts, like.nearest_cosine))


def _nothing_there(neighbours: Sequence[Judged | Unjudged], at: int) -> bool:
    """Say whether no model saw anything, however unsure, in a picture nor in the two before and after it."""
    near = neighbours[max(0, at - REACH) : at + REACH + 1]
    return not any(box.score >= CANDIDATE for answer in near if isinstance(answer, Judged) for box in answer.all_boxes)

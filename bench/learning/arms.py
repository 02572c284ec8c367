"""What screening is compared with: one score, and the fixed threshold that keeps the budget exactly, with hindsight.

All of them stand behind the product's own filters and de-duplication. What these owe to the frames kept before is all
that differs from arm to arm; the rest is asked of the product once per stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learning.product import SALT, TENANT, Day
from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.decide_frame import Context, decide_frame
from screen.decision.facts import Facts, compare_anew, gather_facts
from screen.decision.frame_keys import FrameKeys, eye_of
from screen.decision.near_duplicates import Picture, compare, describe_picture
from screen.decision.scene_distance import Scene, measure_scene
from screen.decision.serving_versions import serving_pair
from screen.handle import Observation, decide
from screen.memory.embedding_statistics import NOTHING_SCENIC, Scenery, measure_step, usual_of
from screen.memory.sharpness import NOTHING_USUAL, Sharpness
from screen.memory.state import KeptFrame, Memory
from screen.vision.detections import Judged
from screen.vision.embedding import unpack

Scores = NDArray[np.float64]
PARTS = {"1 - max confidence": "low_top_score", "entropy": "uncertainty", "disagreement": "disagreement"}
GOLDEN = 0.6180339887498949
HALVINGS = 12


@dataclass(frozen=True, slots=True)
class Known:
    """What the product knows of a frame before anything was kept."""

    facts: Facts
    scene: Scene
    usual: Sharpness
    picture: Picture
    spread: Scenery  # of its slice, when it came
    stride: float


def know(today: Day, policy: ScreenPolicy) -> list[Known]:
    """Ask the product for a day's facts, while it keeps nothing."""
    nothing = _fix_threshold(policy).model_copy(update={"threshold": 1.0, "weights": {"nothing": 1.0}})
    memory, known = Memory(), list[Known]()
    for unit in today.units:
        for at, (frame, judged) in enumerate(zip(unit.unit.body.frames, unit.frames, strict=True)):
            if unit.serving is None or not isinstance(judged, Judged):
                raise TypeError("the bench has a model, and it judges every frame")
            keys = FrameKeys(
                TENANT,
                unit.unit.body.vehicle,
                frame.camera,
                frame.condition,
                unit.unit.body.drive,
                eye_of(serving_pair(unit.serving)),
            )
            scene = measure_scene(memory, keys, judged.embedding)
            picture = describe_picture(frame, judged.boxes, judged.embedding)
            facts = gather_facts(
                memory, frame, keys, unit.frames, at, policy=nothing, picture=picture, scene=scene, lot=1.0
            )
            usual = memory.sharpness.get(keys.camera_key, NOTHING_USUAL)
            spread = memory.scenery.get(keys.slice_key, NOTHING_SCENIC)
            stride = memory.strides.get(keys.slice_key, 0.0)
            known.append(Known(facts, scene, usual, picture, spread, stride))
            body = unit.unit.body.model_copy(update={"frames": (frame,)})
            memory, _ = decide(
                memory,
                Observation(unit.unit._replace(body=body), unit.serving, (judged,)),
                {TENANT: nothing},
                salt=SALT,
            )
    return known


def _fix_threshold(policy: ScreenPolicy) -> ScreenPolicy:
    return policy.model_copy(update={"controlled": False, "audit_share": 0.0, "predictor": None, "rules": ()})


def draw_scores(seed: int, frames: int) -> Scores:
    return np.random.default_rng([seed, 13]).random(frames)


def spread_scores(frames: int) -> Scores:
    """Return scores of which any threshold takes every k-th frame, for any k (multiples of the golden ratio)."""
    return np.asarray(np.arange(frames) * GOLDEN % 1.0, np.float64)


def keep_above(known: Sequence[Known], scores: Scores, threshold: float, policy: ScreenPolicy) -> NDArray[np.bool_]:
    """Return which frames a fixed threshold keeps, behind the product's filters and de-duplication."""
    fixed = _fix_threshold(policy).model_copy(update={"weights": {"given": 1.0}})
    memory, kept = Memory(), np.zeros(len(known), bool)
    for place in np.flatnonzero(scores >= threshold).tolist():
        frame = known[place]
        facts = _compare_with_kept(memory, frame)._replace(parts={"given": 1.0})
        kept[place] = decide_frame(facts, fixed, Context(1.0, frame.usual)).verdict is Verdict.KEPT
        if kept[place]:
            memory = _keep(memory, frame)
    return kept


def _compare_with_kept(memory: Memory, known: Known) -> Facts:
    """Return a frame's facts with what they owe to the frames kept before it."""
    keys = known.facts.keys
    others = [frame.embedding for frame in memory.kept.get(keys.camera_key, ())]
    vector = unpack(known.picture.embedding)
    usual = usual_of(known.spread, keys.eye, len(vector))
    step = None if usual is None else measure_step(usual, vector, others)
    nearest_step = None if step is None or not known.stride else round(step / known.stride, 4)
    scene = replace(known.scene, nearest_step=nearest_step)
    return compare_anew(known.facts, compare(memory, keys, known.picture, scene))


def _keep(memory: Memory, known: Known) -> Memory:
    keys, picture = known.facts.keys, known.picture
    frame = KeptFrame(picture.dhash, picture.perhaps, picture.embedding, picture.brightness)
    return memory.add_kept_frame(keys.camera_key, frame).add_kept_scene(keys.slice_key, keys.eye, known.scene.direction)


def keep_by_best_threshold(
    known: Sequence[Known], scores: Scores, policy: ScreenPolicy, *, seed: int
) -> NDArray[np.bool_]:
    """Return what the lowest threshold keeps that stays within the budget; equal scores are told apart by lot."""
    lots = np.random.default_rng([seed, 17]).random(len(scores))
    ranks = np.lexsort((lots, scores)).argsort().astype(float)
    budget_frames = policy.keep_budget * len(scores)
    low, high = max(0.0, len(scores) - 4 * budget_frames), float(len(scores))
    kept = np.zeros(len(scores), bool)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        kept_now = keep_above(known, ranks, middle, policy)
        if kept_now.sum() <= budget_frames:
            high, kept = middle, kept_now
        else:
            low = middle
    return kept

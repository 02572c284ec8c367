"""Label a frame as a person would: mostly right, with the errors people make."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from numpy.random import Generator

from roadloop_world.rendering.drives import TruthBox

_LOOKALIKES = {"e-bike": "bicycle", "bicycle": "e-bike", "truck": "bus", "tricycle": "e-bike"}
_SMALL_AREA = 0.006  # 0..1 of the picture: about 16 x 15 pixels of 256 x 160
_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Skill:
    """How often one annotator errs; chances in 0..1."""

    misses: float  # an object
    misses_small: float  # an object under `_SMALL_AREA`
    jitter: float  # standard deviation of an edge, in parts of the box's width or height
    confuses: float  # a class with the one that looks like it
    keeps_wrong: float  # a pre-label that shows nothing, or the wrong class


EXPERT = Skill(misses=0.005, misses_small=0.03, jitter=0.012, confuses=0.01, keeps_wrong=0.02)
CAREFUL = Skill(misses=0.02, misses_small=0.08, jitter=0.025, confuses=0.04, keeps_wrong=0.08)
HASTY = Skill(misses=0.08, misses_small=0.30, jitter=0.06, confuses=0.15, keeps_wrong=0.40)


def annotate(
    truth: Sequence[TruthBox], prelabels: Sequence[TruthBox], rng: Generator, skill: Skill
) -> tuple[TruthBox, ...]:
    """Return the boxes an annotator hands in; the same generator state gives the same boxes.

    An object that a right pre-label shows is never missed: the annotator sees the drawn box. A right pre-label is
    accepted as it is; a wrong one is deleted, unless the annotator overlooks it.
    """
    boxes: list[TruthBox] = []
    for box in truth:
        prelabel = _find_prelabel(box, prelabels)
        if prelabel is not None and (prelabel.class_name == box.class_name or rng.random() < skill.keeps_wrong):
            boxes.append(prelabel)
        elif rng.random() >= _choose_miss_chance(box, skill):
            boxes.append(_draw_box(box, rng, skill))
    false_prelabels = [label for label in prelabels if all(_measure_overlap(label, box) < _OVERLAP for box in truth)]
    boxes.extend(label for label in false_prelabels if rng.random() < skill.keeps_wrong)
    return tuple(boxes)


def _find_prelabel(box: TruthBox, prelabels: Sequence[TruthBox]) -> TruthBox | None:
    """Return the pre-label that covers `box` best, if one covers it at all."""
    covering = [label for label in prelabels if _measure_overlap(label, box) >= _OVERLAP]
    return max(
        covering, key=lambda label: (label.class_name == box.class_name, _measure_overlap(label, box)), default=None
    )


def _choose_miss_chance(box: TruthBox, skill: Skill) -> float:
    small = (box.x2 - box.x1) * (box.y2 - box.y1) < _SMALL_AREA
    return skill.misses_small if small else skill.misses


def _draw_box(box: TruthBox, rng: Generator, skill: Skill) -> TruthBox:
    """Return the box as the annotator draws and names it; it stays inside the picture and keeps its order."""
    wide, high = (box.x2 - box.x1) * skill.jitter, (box.y2 - box.y1) * skill.jitter
    left, top, right, bottom = (float(shift) for shift in rng.normal(0, 1, 4).clip(-3, 3))
    is_confused = rng.random() < skill.confuses
    return replace(
        box,
        class_name=_LOOKALIKES.get(box.class_name, box.class_name) if is_confused else box.class_name,
        x1=_clip_edge(box.x1 + left * wide),
        y1=_clip_edge(box.y1 + top * high),
        x2=_clip_edge(box.x2 + right * wide),
        y2=_clip_edge(box.y2 + bottom * high),
    )


def _clip_edge(edge: float) -> float:
    return min(1.0, max(0.0, edge))


def _measure_overlap(box: TruthBox, other: TruthBox) -> float:
    """Return intersection over union."""
    wide = min(box.x2, other.x2) - max(box.x1, other.x1)
    high = min(box.y2, other.y2) - max(box.y1, other.y1)
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    return shared / (_measure_area(box) + _measure_area(other) - shared)


def _measure_area(box: TruthBox) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)

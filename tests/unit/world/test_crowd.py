"""A simulated annotator errs as people do, and the same generator gives the same errors."""

import pytest
from numpy.random import default_rng

from roadloop_world.actors.annotation_errors import CAREFUL, EXPERT, HASTY, Skill, annotate
from roadloop_world.rendering.drives import TruthBox

LARGE = TruthBox("car", 0.2, 0.3, 0.5, 0.6)
SMALL = TruthBox("pedestrian", 0.7, 0.4, 0.74, 0.5)
EBIKE = TruthBox("e-bike", 0.6, 0.3, 0.7, 0.6)
NOTHING = TruthBox("bus", 0.0, 0.7, 0.2, 0.9)
PERFECT = Skill(0, 0, 0, 0, 0)
BLIND = Skill(1, 1, 0, 0, 0)
TRUSTING = Skill(0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("truth", "prelabels", "skill", "expected"),
    [
        pytest.param((LARGE, SMALL), (), PERFECT, (LARGE, SMALL), id="a perfect annotator draws the truth"),
        pytest.param((LARGE,), (NOTHING,), PERFECT, (LARGE,), id="a perfect annotator deletes a wrong pre-label"),
        pytest.param((LARGE,), (), BLIND, (), id="a blind annotator misses what nothing shows"),
        pytest.param((LARGE,), (LARGE,), BLIND, (LARGE,), id="a right pre-label is never missed"),
        pytest.param((LARGE,), (NOTHING,), TRUSTING, (LARGE, NOTHING), id="a trusting annotator keeps a wrong one"),
        pytest.param(
            (EBIKE,),
            (TruthBox("bicycle", 0.6, 0.3, 0.7, 0.6),),
            TRUSTING,
            (TruthBox("bicycle", 0.6, 0.3, 0.7, 0.6),),
            id="a trusting annotator keeps a wrong class",
        ),
        pytest.param(
            (EBIKE,),
            (),
            Skill(0, 0, 0, 1, 0),
            (TruthBox("bicycle", 0.6, 0.3, 0.7, 0.6),),
            id="an e-bike is taken for a bicycle",
        ),
        pytest.param((), (), HASTY, (), id="an empty frame stays empty"),
    ],
)
def test_annotate(
    truth: tuple[TruthBox, ...], prelabels: tuple[TruthBox, ...], skill: Skill, expected: tuple[TruthBox, ...]
) -> None:
    assert annotate(truth, prelabels, default_rng(1), skill) == expected


def test_the_same_generator_gives_the_same_labels() -> None:
    one, other = (annotate((LARGE, SMALL, EBIKE), (NOTHING,), default_rng(9), HASTY) for _ in range(2))
    assert one == other


def test_small_objects_are_missed_more_often() -> None:
    rng = default_rng(2)
    labels = [annotate((LARGE, SMALL), (), rng, HASTY) for _ in range(400)]
    found = {name: sum(box.class_name == name for boxes in labels for box in boxes) for name in ("car", "pedestrian")}
    assert found["pedestrian"] < 0.85 * found["car"]


@pytest.mark.parametrize("skill", [EXPERT, CAREFUL, HASTY])
def test_boxes_stay_inside_the_picture(skill: Skill) -> None:
    rng = default_rng(3)
    edge = TruthBox("truck", 0.0, 0.0, 1.0, 1.0)
    boxes = [box for _ in range(200) for box in annotate((edge, SMALL), (), rng, skill)]
    assert all(0 <= box.x1 < box.x2 <= 1 and 0 <= box.y1 < box.y2 <= 1 for box in boxes)

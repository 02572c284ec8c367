"""Average precision and its confidence, against cases worked out by hand."""

import numpy as np
import pytest

from trainer_trigger.evaluation.average_precision import Found, mean_average_precision, report
from trainer_trigger.evaluation.paired_bootstrap import Marks, average_precision, confidence, draw
from trainer_trigger.training.frame_set import Line

CLASSES = ("car", "bus")
LEFT, RIGHT = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)


def line(image: str, *boxes: tuple[str, tuple[float, float, float, float]], condition: str = "clear") -> Line:
    return Line(image, tuple((name, *corners) for name, corners in boxes), condition, image)


def seen(**images: list[tuple[tuple[float, float, float, float], float, int]]) -> Found:
    return {
        image: np.array([[*corners, score, index] for corners, score, index in rows]).reshape(-1, 6)
        for image, rows in images.items()
    }


# Two cars on two frames. Both found, but a false alarm scores between them: precision is 1 up to recall 0.5,
# then 2/3. Over 101 recalls: 51 of them (0 to 0.5) at 1, 50 at 2/3.
TWO_CARS = [line("a", ("car", LEFT)), line("b", ("car", RIGHT))]
FALSE_ALARM = seen(a=[(LEFT, 0.9, 0), (RIGHT, 0.8, 0)], b=[(RIGHT, 0.7, 0)])


@pytest.mark.parametrize(
    ("lines", "found", "score"),
    [
        pytest.param(TWO_CARS, FALSE_ALARM, (51 + 50 * 2 / 3) / 101, id="a-false-alarm-between-two-hits"),
        pytest.param(TWO_CARS, seen(a=[(LEFT, 0.9, 0)]), 51 / 101, id="half-of-the-objects-found"),
        pytest.param(TWO_CARS, seen(a=[(LEFT, 0.9, 1)]), 0.0, id="the-right-place-with-the-wrong-class"),
        pytest.param(TWO_CARS, seen(), 0.0, id="nothing-detected"),
        pytest.param(
            [line("a", ("car", LEFT), ("bus", RIGHT))],
            seen(a=[(LEFT, 0.9, 0)]),
            0.5,
            id="the-mean-is-over-classes-that-are-there",
        ),
        pytest.param([line("a")], seen(a=[(LEFT, 0.9, 0)]), None, id="no-objects-no-figure"),
    ],
)
def test_mean_average_precision(lines: list[Line], found: Found, score: float | None) -> None:
    assert mean_average_precision(lines, found, CLASSES) == (None if score is None else pytest.approx(score))


def test_a_report_has_a_figure_per_condition_and_their_mean() -> None:
    lines = [line("a", ("car", LEFT)), line("n", ("car", LEFT), condition="night"), line("e", condition="empty")]
    found = report(lines, seen(a=[(LEFT, 0.9, 0)]), CLASSES)
    assert dict(found.conditions) == pytest.approx({"clear": 1.0, "night": 0.0})
    assert found.mean == pytest.approx(0.5)


def test_a_resample_counts_a_frame_as_often_as_it_was_drawn() -> None:
    marks = Marks(np.array([0, 1]), np.array([0.0, 1.0]))  # the best detection is a false alarm on frame 0
    weights = np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0]])
    totals = weights @ np.array([0.0, 1.0])
    assert average_precision(marks, weights, totals).tolist() == pytest.approx([0.5, 1.0, 0.0])


def test_frames_of_one_drive_are_drawn_together() -> None:
    weights = draw(["a", "a", "b"], 50, np.random.default_rng(1))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] + weights[:, 2] == 2).all()


def test_confidence_is_one_for_a_clear_gain_and_none_for_no_change() -> None:
    lines = [line(str(n), ("car", LEFT)) for n in range(20)]
    better = seen(**{str(n): [(LEFT, 0.9, 0)] for n in range(20)})
    worse = seen(**{str(n): [(LEFT, 0.9, 0)] for n in range(5)})
    luck = seen(**{str(n): [(LEFT, 0.9, 0)] for n in range(6)})
    assert confidence(lines, worse, better, CLASSES, seed=1) == 1.0
    assert confidence(lines, better, better, CLASSES, seed=1) == 0.0
    assert 0.4 < confidence(lines, worse, luck, CLASSES, seed=1) < 0.9

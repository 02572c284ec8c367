"""What counts as an error, as hard, as silent, as one event, and as one scene: by hand."""

import numpy as np
import pytest

from learning.answers import Answers, find_events
from learning.configuration import Meaning
from learning.figures import compute_figures, duplicates, event_recall, interval, normalise, ratio, recall
from learning.truth import Errors, errors, overlaps

LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0)
CAR, TRUCK = 0.0, 1.0
NOTHING = np.empty((0, 6), np.float32)


def rows(*boxes: tuple[float, ...], width: int = 6) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, width)


def seen(place: tuple[float, ...], score: float, kind: float = CAR) -> tuple[float, ...]:
    return (*place, score, kind)


def there(place: tuple[float, ...], kind: float = CAR) -> tuple[float, ...]:
    return (*place, kind)


@pytest.mark.parametrize(
    ("ours", "theirs", "truth", "unlabelable", "expected"),
    [
        pytest.param([seen(LEFT, 0.9)], [], [there(LEFT)], [], Errors(0, 0, 0, 0), id="seen-as-it-is"),
        pytest.param([seen(LEFT, 0.34)], [], [there(LEFT)], [], Errors(1, 0, 0, 0), id="missed-below-the-threshold"),
        pytest.param([], [seen(LEFT, 0.1)], [there(LEFT)], [], Errors(1, 0, 0, 0), id="missed-where-the-other-doubts"),
        pytest.param([], [seen(LEFT, 0.09)], [there(LEFT)], [], Errors(1, 0, 0, 1), id="missed-and-silent"),
        pytest.param(
            [], [seen(LEFT, 0.9, TRUCK)], [there(LEFT)], [], Errors(1, 0, 0, 0), id="another-class-is-not-silent"
        ),
        pytest.param([seen(LEFT, 0.9)], [], [], [], Errors(0, 1, 0, 0), id="a-ghost"),
        pytest.param([seen(LEFT, 0.9)], [], [], [there(LEFT)], Errors(0, 0, 0, 0), id="on-what-nobody-can-label"),
        pytest.param([seen(LEFT, 0.9, TRUCK)], [], [there(LEFT)], [], Errors(0, 0, 1, 0), id="a-swap-is-one-error"),
        pytest.param(
            [seen(LEFT, 0.9, TRUCK), seen(LEFT, 0.5, CAR)],
            [],
            [there(LEFT)],
            [],
            Errors(0, 1, 0, 0),
            id="its-own-class-takes-the-object-before-a-better-score",
        ),
        pytest.param(
            [seen(LEFT, 0.9), seen(LEFT, 0.8)], [], [there(LEFT)], [], Errors(0, 1, 0, 0), id="twice-is-a-ghost"
        ),
        pytest.param([seen(RIGHT, 0.9)], [], [there(LEFT)], [], Errors(1, 1, 0, 1), id="elsewhere-is-both"),
        pytest.param([], [], [], [], Errors(0, 0, 0, 0), id="an-empty-road"),
    ],
)
def test_errors_of_a_frame(ours: list, theirs: list, truth: list, unlabelable: list, expected: Errors) -> None:
    found = errors(rows(*ours), rows(*theirs), rows(*truth, width=5), rows(*unlabelable, width=5), Meaning())
    assert found == expected


def test_overlap_is_intersection_over_union() -> None:
    found = overlaps(rows((0, 0, 0.5, 1), (0, 0, 1, 1), width=4), rows((0.25, 0, 0.75, 1), width=4))
    assert found == pytest.approx(np.array([[1 / 3], [1 / 2]]))
    assert overlaps(NOTHING, rows(LEFT, width=4)).shape == (0, 1)


def answers(*frames: tuple[int, int, tuple[int, int, int, int]], useless: tuple[int, ...] = ()) -> Answers:
    """Return the truth of frames given as drive, moment, errors; one error makes a frame hard."""
    drives, moments = (np.array([frame[place] for frame in frames]) for place in (0, 1))
    count = len(frames)
    return Answers(
        np.array([frame[2] for frame in frames]),
        1,
        drives * 100 + moments,
        drives,
        moments,
        np.isin(np.arange(count), useless),
        np.array(["night"] * count),
        np.arange(count),
    )


MISS, GHOST, RIGHT_ONE = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0)


def test_an_event_is_one_type_of_error_in_one_drive_without_a_long_gap() -> None:
    truth = answers((1, 0, MISS), (2, 0, MISS), (1, 3, (1, 1, 0, 0)), (1, 3, MISS), (1, 7, MISS), (1, 4, RIGHT_ONE))
    assert find_events(truth, gap=2) == [[0, 2, 3], [4], [1], [2]]


def test_an_event_is_found_by_any_of_its_frames() -> None:
    truth = answers((1, 0, MISS), (1, 1, MISS), (2, 0, GHOST))
    assert event_recall(np.array([False, True, False]), truth, 2) == 0.5


def test_a_standing_scene_counts_once_and_any_of_its_frames_finds_it() -> None:
    truth = answers((1, 0, MISS), (1, 0, MISS), (1, 1, MISS), (1, 2, RIGHT_ONE))
    kept = np.array([False, True, False, True])
    assert recall(kept, truth.hard, truth) == 0.5
    assert duplicates(np.array([True, True, True, False]), truth) == pytest.approx(1 / 3)


def test_what_is_useless_finds_nothing() -> None:
    truth = answers((1, 0, MISS), (1, 0, MISS), useless=(1,))
    assert recall(np.array([False, True]), truth.hard, truth) == 0
    assert compute_figures(np.array([False, True]), truth, 2)["useless"] == 1


def test_only_what_neither_saw_in_a_hard_frame_is_silent() -> None:
    truth = answers((1, 0, (1, 0, 0, 1)), (1, 1, MISS))
    assert truth.silent.tolist() == [True, False]


def test_shuffling_deals_whole_scenes_and_tells_whose_errors_a_frame_has() -> None:
    truth = answers(
        *((1, number // 2, (number // 2 % 3, 0, 0, 0)) for number in range(40)), (1, 99, MISS), useless=(40,)
    )
    dealt = truth.shuffle(3)
    assert (dealt.errors == truth.errors[dealt.donors]).all()
    assert (dealt.errors[0:40:2] == dealt.errors[1:40:2]).all(), "the frames of a scene stay alike"
    assert sorted(dealt.totals[:40]) == sorted(truth.totals[:40])
    assert dealt.donors[40] == 40
    assert (dealt.donors != truth.donors).any()


def test_intervals_and_ratios() -> None:
    assert interval([2.0]) == (2, 2, 2)
    mean, low, high = ratio([2.0, 6.0], [1.0, 2.0])
    assert (mean, low + high) == (2.5, 5.0)
    assert high - mean == pytest.approx(12.706 * 0.5, rel=1e-3)
    assert normalise(0.5, 0.1, 0.9) == pytest.approx(0.5)
    assert normalise(0.1, 0.1, 0.1) == 0

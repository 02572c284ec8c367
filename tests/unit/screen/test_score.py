"""The parts of a score, against values worked out by hand."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screen.detections import Box, iou, match
from screen.score import combine, disagreement, entropy, low_top_score, parts, uncertainty


def box(score: float, x1: float = 0.0, x2: float = 0.4, class_name: str = "car") -> Box:
    """Return a box of full height: its overlap with another is that of two intervals."""
    return Box(x1, 0.0, x2, 1.0, score, class_name)


@pytest.mark.parametrize(
    ("p", "bits"),
    [
        pytest.param(0.0, 0.0, id="never-is-certain"),
        pytest.param(1.0, 0.0, id="always-is-certain"),
        pytest.param(0.5, 1.0, id="even-is-one-bit"),
        pytest.param(0.25, 0.811278, id="a-quarter"),
        pytest.param(0.75, 0.811278, id="three-quarters-is-as-uncertain"),
        pytest.param(-0.1, 0.0, id="below-the-range-is-certain"),
    ],
)
def test_entropy(p: float, bits: float) -> None:
    assert entropy(p) == pytest.approx(bits, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "mean"),
    [
        pytest.param([], 0.0, id="nothing-seen"),
        pytest.param([0.5], 1 / 3, id="one-even-box-counts-a-third"),
        pytest.param([0.5, 0.25], (1 + 0.811278) / 3, id="two-boxes"),
        pytest.param([0.5, 0.5, 0.5], 1.0, id="three-even-boxes-are-the-most"),
        pytest.param([0.99, 0.5, 1.0, 0.5, 0.5, 0.98], 1.0, id="only-the-three-most-uncertain-count"),
    ],
)
def test_uncertainty(scores: list[float], mean: float) -> None:
    assert uncertainty([box(score) for score in scores]) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "value"),
    [
        pytest.param([], 1.0, id="silence-is-not-certainty"),
        pytest.param([0.3, 0.8], pytest.approx(0.2), id="the-best-box-counts"),
        pytest.param([1.0], 0.0, id="a-certain-box"),
    ],
)
def test_low_top_score(scores: list[float], value: float) -> None:
    assert low_top_score([box(score) for score in scores]) == value


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        pytest.param(box(1), box(1), 1.0, id="the-same"),
        pytest.param(box(1, 0.0, 0.4), box(1, 0.2, 0.6), 1 / 3, id="half-of-each"),
        pytest.param(box(1, 0.0, 0.4), box(1, 0.4, 0.8), 0.0, id="side-by-side"),
        pytest.param(box(1, 0.0, 0.4), box(1, 0.1, 0.4), 0.75, id="one-inside-the-other"),
    ],
)
def test_overlap(one: Box, other: Box, overlap: float) -> None:
    assert iou(one, other) == pytest.approx(overlap)
    assert iou(other, one) == pytest.approx(overlap)


def test_the_best_scored_box_chooses_first() -> None:
    weak, strong, theirs = box(0.4, 0.0, 0.4), box(0.9, 0.1, 0.4), box(0.8, 0.0, 0.4)
    assert match([weak, strong], [theirs]) == [(strong, theirs), (weak, None)]


# 1 - e^-x for the sums below.
@pytest.mark.parametrize(
    ("ours", "theirs", "value"),
    [
        pytest.param([], [], 0.0, id="both-see-nothing"),
        pytest.param([box(0.9)], [box(0.9)], 0.0, id="both-see-the-same"),
        pytest.param([box(0.9)], [box(0.4)], 0.393469, id="scores-half-apart-make-a-sum-of-a-half"),
        pytest.param([box(0.9)], [], 0.593430, id="a-lonely-box-counts-its-score"),
        pytest.param([], [box(0.9)], 0.593430, id="their-lonely-box-too"),
        pytest.param([box(0.34)], [], 0.0, id="a-doubtful-lonely-box-counts-nothing"),
        pytest.param([box(0.35)], [], 0.295312, id="a-box-just-confident-counts"),
        pytest.param([box(0.8)], [box(0.6, class_name="bus")], 0.550671, id="another-class-counts-the-larger-score"),
        pytest.param(
            [box(0.9, 0.0, 0.4)], [box(0.9, 0.1, 0.4)], 0.221199, id="the-place-counts-where-both-are-confident"
        ),
        pytest.param([box(0.5, 0.0, 0.4)], [box(0.5, 0.1, 0.4)], 0.0, id="the-place-does-not-count-where-one-is-even"),
        pytest.param(
            [box(0.9, 0.0, 0.4)], [box(0.9, 0.4, 0.8)], 0.834701, id="two-lonely-boxes-where-they-do-not-overlap"
        ),
    ],
)
def test_disagreement(ours: Sequence[Box], theirs: Sequence[Box], value: float) -> None:
    assert disagreement(ours, theirs) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        pytest.param(None, {"uncertainty": 0.156332, "low_top_score": 0.1}, id="without-a-second-model"),
        pytest.param(
            [],
            {"uncertainty": 0.156332, "low_top_score": 0.1, "disagreement": 0.59343},
            id="with-one-that-sees-nothing",
        ),
    ],
)
def test_parts(theirs: list[Box] | None, found: dict[str, float]) -> None:
    assert parts([box(0.9)], theirs) == found


@pytest.mark.parametrize(
    ("found", "weights", "score"),
    [
        pytest.param({"a": 0.2, "b": 0.6}, {}, 0.4, id="without-weights-all-parts-count-alike"),
        pytest.param({"a": 0.2, "b": 0.6}, {"a": 3, "b": 1}, 0.3, id="weighted-mean"),
        pytest.param({"a": 0.2, "b": 0.6}, {"b": 2}, 0.6, id="a-part-without-a-weight-does-not-count"),
        pytest.param({"a": 0.2}, {"a": 1, "c": 9}, 0.2, id="a-weight-without-its-part-does-not-count"),
        pytest.param({"a": 0.2}, {"c": 9}, 0.0, id="nothing-that-counts-is-nothing"),
        pytest.param({"a": 0.2}, {"a": -1}, 0.0, id="weights-below-zero-are-nothing"),
        pytest.param({"a": 1.0, "b": 0.0}, {"a": 3, "b": -1}, 1.0, id="a-score-never-leaves-its-range"),
        pytest.param({}, {}, 0.0, id="no-parts"),
    ],
)
def test_combined(found: dict[str, float], weights: dict[str, float], score: float) -> None:
    assert combine(found, weights) == pytest.approx(score)


edges = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
boxes = st.lists(
    st.builds(lambda score, x, name: box(score, *x, name), st.floats(0, 1), edges, st.sampled_from(["car", "bus"])),
    max_size=6,
)


@given(boxes, boxes | st.none())
def test_every_part_and_the_score_are_shares(ours: list[Box], theirs: list[Box] | None) -> None:
    found = parts(ours, theirs)
    assert all(0 <= value <= 1 for value in found.values())
    assert 0 <= combine(found, {}) <= 1

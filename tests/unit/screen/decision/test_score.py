"""The parts of a score, against values worked out by hand."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_schemas.fields import Condition
from roadloop_schemas.policies import ErrorPredictor, ScreenPolicy
from screen.decision.model_disagreement import measure_disagreement
from screen.decision.score import combine, crowd, entropy, low_top_score, objects, overlap, uncertainty
from screen.vision.detections import Box, iou, match, select_claims

POLICY = ScreenPolicy(version=1, threshold=0.5)


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


def test_a_partner_is_of_ones_own_class_if_there_is_one() -> None:
    ours, bus, car = box(0.9), box(0.9, class_name="bus"), box(0.1, 0.1, 0.4)
    assert match([ours], [bus, car]) == [(ours, car), (None, bus)]
    assert match([ours], [bus]) == [(ours, bus)]


def test_a_model_claims_one_thing_at_a_place() -> None:
    best, other, elsewhere = box(0.9), box(0.8, class_name="bus"), box(0.5, 0.5, 0.9)
    assert select_claims([elsewhere, other, best], 0.35) == [best, elsewhere]
    assert select_claims([elsewhere, other, best], 0.6) == [best]


def test_the_best_scored_box_chooses_first() -> None:
    weak, strong, theirs = box(0.4, 0.0, 0.4), box(0.9, 0.1, 0.4), box(0.8, 0.0, 0.4)
    assert match([weak, strong], [theirs]) == [(strong, theirs), (weak, None)]


@pytest.mark.parametrize(
    ("ours", "theirs", "value"),
    [
        pytest.param([], [], 0.0, id="both-see-nothing"),
        pytest.param([box(0.9)], [box(0.9)], 0.0, id="both-see-the-same"),
        pytest.param([box(0.9)], [box(0.4)], 0.0, id="how-sure-they-are-does-not-count"),
        pytest.param([box(0.9)], [], 1 / 3, id="a-lonely-box"),
        pytest.param([], [box(0.9)], 1 / 3, id="their-lonely-box-too"),
        pytest.param([box(0.34)], [], 0.0, id="a-doubtful-lonely-box-counts-nothing"),
        pytest.param([box(0.35)], [], 1 / 3, id="a-box-just-confident-counts"),
        pytest.param([box(0.9)], [box(0.34)], 1 / 3, id="what-the-other-only-doubts-it-does-not-claim"),
        pytest.param([box(0.8)], [box(0.6, class_name="bus")], 1 / 3, id="another-class-at-one-place-is-one"),
        pytest.param(
            [box(0.9)], [box(0.5), box(0.4, class_name="bus")], 0.0, id="a-weaker-class-at-one-place-is-no-claim"
        ),
        pytest.param(
            [box(0.9)], [box(0.8, 0.1, 0.5, class_name="bus"), box(0.6)], 1 / 3, id="its-own-class-before-a-nearer-one"
        ),
        pytest.param([box(0.9, 0.0, 0.4)], [box(0.9, 0.1, 0.4)], 0.0, id="nearly-the-same-place"),
        pytest.param([box(0.9, 0.0, 0.4)], [box(0.9, 0.4, 0.8)], 0.5, id="two-lonely-boxes-where-they-do-not-overlap"),
    ],
)
def test_disagreement(ours: Sequence[Box], theirs: Sequence[Box], value: float) -> None:
    assert measure_disagreement(ours, theirs) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "uncertain", "apart"),
    [
        pytest.param({}, 1 / 3, 1 / 3, id="one-without-a-weight"),
        pytest.param({"car": 2}, 2 / 3, 1 / 2, id="a-class-that-counts-twice"),
        pytest.param({"car": 0}, 0.0, 0.0, id="a-class-that-counts-nothing"),
        pytest.param({"bus": 2}, 1 / 3, 1 / 3, id="another-class"),
    ],
)
def test_a_class_counts_by_its_weight(weights: dict[str, float], uncertain: float, apart: float) -> None:
    assert uncertainty([box(0.5)], weights) == pytest.approx(uncertain)
    assert measure_disagreement([box(0.5)], [], weights) == pytest.approx(apart, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "value"),
    [
        pytest.param([], 0.0, id="nothing-seen"),
        pytest.param([0.9, 0.1], 0.0, id="settled-ones-do-not-count"),
        pytest.param([0.15, 0.6, 0.3], 0.5, id="three-unsettled-ones"),
    ],
)
def test_crowd(scores: list[float], value: float) -> None:
    assert crowd([box(score) for score in scores]) == value


@pytest.mark.parametrize(
    ("others", "value"),
    [
        pytest.param([], 0.0, id="alone"),
        pytest.param([(0.3, 0.3, 0.5, 0.5, 0.3)], 0.0, id="apart"),
        pytest.param([(0.1, 0.0, 0.3, 0.2, 0.3)], 1 / 3, id="one-stands-before-it"),
        pytest.param([(0.1, 0.0, 0.3, 0.2, 0.1)], 0.0, id="what-is-hardly-seen-does-not-count"),
        pytest.param([(0.01, 0.0, 0.21, 0.2, 0.3)], 0.0, id="the-same-thing-once-more"),
        pytest.param([(0.17, 0.0, 0.37, 0.2, 0.3)], 0.0, id="they-only-touch"),
        pytest.param([(0.1, 0.0, 0.3, 0.2, 0.3), (0.0, 0.1, 0.2, 0.3, 0.3)], 0.6, id="all-three-pairs"),
    ],
)
def test_things_that_hide_each_other(others: list[tuple[float, ...]], value: float) -> None:
    assert overlap([Box(0, 0, 0.2, 0.2, 0.9, "car"), *(Box(*one, "bus") for one in others)]) == pytest.approx(value)


@pytest.mark.parametrize(
    ("found", "weights", "score"),
    [
        pytest.param({"crowd": 0.2, "disagreement": 0.6}, {}, 0.4, id="without-weights-the-fixed-ones-count"),
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
    assert combine(found, Condition.CLEAR, POLICY.model_copy(update={"weights": weights})) == pytest.approx(score)


@pytest.mark.parametrize(
    ("found", "score"),
    [
        pytest.param({"a": 0.0, "b": 0.0}, 0.268941, id="the-intercept"),
        pytest.param({"a": 0.5, "b": 0.0}, 0.5, id="a-part-counts-by-its-weight"),
        pytest.param({"a": 0.5, "c": 1.0}, 0.622459, id="a-part-that-is-missing-counts-as-its-mean-and-others-do-not"),
        pytest.param({"a": 1e9}, 1.0, id="whatever-its-size"),
    ],
)
def test_a_predictor_takes_the_place_of_the_weights(found: dict[str, float], score: float) -> None:
    predictor = ErrorPredictor(intercept=-1, weights={"a": 2, "b": 1}, means={"b": 0.5})
    policy = POLICY.model_copy(update={"weights": {"a": 1}, "predictor": predictor})
    assert combine(found, Condition.CLEAR, policy) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        pytest.param([], 0.0, id="nothing"),
        pytest.param([box(0.35), box(0.34, 0.5, 0.9)], 1 / 6, id="one-claim"),
        pytest.param([box(0.9), box(0.8, class_name="bus")], 1 / 6, id="one-thing-of-two-classes"),
        pytest.param([box(0.9), box(0.8, 0.5, 0.9)], 2 / 7, id="two"),
    ],
)
def test_objects(found: list[Box], value: float) -> None:
    assert objects(found) == pytest.approx(value)


edges = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
boxes = st.lists(
    st.builds(lambda score, x, name: box(score, *x, name), st.floats(0, 1), edges, st.sampled_from(["car", "bus"])),
    max_size=6,
)


@given(boxes, boxes, st.dictionaries(st.sampled_from(["car", "bus"]), st.floats(0, 2)))
def test_every_part_is_a_share(ours: list[Box], theirs: list[Box], weights: dict[str, float]) -> None:
    found = uncertainty(ours, weights), low_top_score(ours), crowd(ours), measure_disagreement(ours, theirs, weights)
    assert all(0 <= value <= 1 for value in found)

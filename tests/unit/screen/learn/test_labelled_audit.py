"""What the audit teaches, and when that is enough to change a policy."""

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadloop_schemas.fields import Condition
from roadloop_schemas.policies import EmptyScenes, ErrorPredictor, ScreenPolicy
from screen.decision import score
from screen.learn.empty_scenes import EMPTIES, NEW_EMPTIES, choose_empty_scenes
from screen.learn.improve_policy import improve_policy
from screen.learn.labelled_audit import DAYS, AuditedFrame, LabelledFrame, select_recent
from screen.learn.predictor import EXPECTED, fit, is_better, measure_ranking
from screen.learn.predictor_acceptance import FRESH, choose_start_threshold, propose
from screen.vision.embedding import as_text, from_text, pack, unpack
from tests.builders import make_label_box

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HALF_NOISE = {"disagreement": 1.0, "low_top_score": 1.0}
CONTROLLED = ScreenPolicy(version=3, threshold=0.5, controlled=True, weights=HALF_NOISE)
ROAD = Condition.CLEAR
CAR = make_label_box()


def lesson(
    number: int, parts: dict[str, float], *, hard: bool, embedding: str = "", eye: str = "second/1"
) -> LabelledFrame:
    """Return a frame in which a car was missed, or that is empty, labelled `number` minutes after noon."""
    at = NOON + timedelta(minutes=number)
    return LabelledFrame(AuditedFrame(f"f-{number}", at, ROAD, parts, (), embedding, eye), (CAR,) if hard else (), at)


def audit(frames: int, seed: int = 1, *, informed: bool = True, prevalence: float = 0.2) -> list[LabelledFrame]:
    """Return lessons in which disagreement tells the hard frames, or nothing does; low_top_score tells nothing."""
    dice, found = Random(seed), list[LabelledFrame]()
    for number in range(frames):
        hard = dice.random() < prevalence
        tells = dice.betavariate(4, 2) if hard and informed else dice.betavariate(2, 4)
        found.append(lesson(number, {"disagreement": tells, "low_top_score": dice.random()}, hard=hard))
    return found


def test_a_fit_weighs_the_part_that_tells() -> None:
    lessons = audit(500)
    hard = [float(bool(one.labels)) for one in lessons]
    found = fit([one.frame.parts for one in lessons], [ROAD] * len(lessons), hard)
    assert (found.fitted_on, found.hard) == (500, sum(bool(one.labels) for one in lessons))
    assert found.weights["disagreement"] > 2
    assert abs(found.weights["low_top_score"]) < 1
    chances = [score.chance(one.frame.parts, ROAD, found) for one in lessons]
    assert np.mean(chances) == pytest.approx(found.hard / 500, abs=0.01), "chances are calibrated on what they fit"


def test_a_fit_tells_conditions_from_the_most_frequent_one() -> None:
    dice = Random(3)
    conditions = [dice.choices((ROAD, Condition.NIGHT, Condition.RAIN), (8, 1, 1))[0] for _ in range(600)]
    hard = [float(dice.random() < (0.8 if condition is Condition.NIGHT else 0.1)) for condition in conditions]
    found = fit([{"a": dice.random()} for _ in hard], conditions, hard)
    assert found.conditions.keys() == {Condition.NIGHT, Condition.RAIN}
    assert found.conditions[Condition.NIGHT] > 2
    assert abs(found.conditions[Condition.RAIN]) < 1
    chances = {one: score.chance({"a": 0.5}, one, found) for one in (ROAD, Condition.NIGHT, Condition.TUNNEL)}
    assert chances[Condition.NIGHT] == pytest.approx(0.8, abs=0.1)
    assert chances[ROAD] == chances[Condition.TUNNEL] == pytest.approx(0.1, abs=0.05), "nothing is known of tunnels"


def test_a_fit_is_that_of_scikit_learn() -> None:
    """Reference: LogisticRegression(C=1/30) of scikit-learn 1.9.1 on the standardised table."""
    table = [(0.0, 1.0), (0.25, 0.5), (0.5, 0.75), (0.75, 0.0), (1.0, 0.25), (0.9, 0.9)]
    found = fit([{"a": a, "b": b} for a, b in table], [ROAD] * 6, [False, False, True, False, True, True])
    assert found.weights == pytest.approx({"a": 0.177078, "b": 0.054312}, abs=1e-5)
    assert found.intercept == pytest.approx(-0.131121, abs=1e-5)


def test_a_few_frames_leave_what_is_expected_and_many_tell_otherwise() -> None:
    dice = Random(5)

    def fitted(frames: int) -> ErrorPredictor:
        parts = [{"uncertainty": dice.random(), "novelty": dice.random()} for _ in range(frames)]
        return fit(parts, [ROAD] * frames, [float(dice.random() < 0.1 + 0.8 * one["novelty"]) for one in parts])

    few, many = fitted(10), fitted(20_000)
    assert few.weights["uncertainty"] == pytest.approx(EXPECTED["uncertainty"], rel=0.2)
    assert abs(few.weights["novelty"]) < 1
    assert many.weights["novelty"] > 3
    assert abs(many.weights["uncertainty"]) < 0.5


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_any_frames_can_be_fitted(rows: list[tuple[float, bool, bool]]) -> None:
    parts = [{"a": a, **({"b": 0.5} if has_b else {})} for a, has_b, _ in rows]
    found = fit(parts, [ROAD] * len(parts), [hard for *_, hard in rows])
    assert all(0 <= score.chance(one, ROAD, found) <= 1 for one in (*parts, {}))
    assert found.weights.get("b", 0) == 0, "a part that never varies says nothing"


@pytest.mark.parametrize(
    ("scores", "hard", "area"),
    [
        pytest.param([0.1, 0.2, 0.9], [0.0, 0.0, 1.0], 1.0, id="right"),
        pytest.param([0.9, 0.2, 0.1], [0.0, 0.0, 1.0], 0.0, id="upside-down"),
        pytest.param([0.5, 0.5, 0.5], [0.0, 0.0, 1.0], 0.5, id="all-alike"),
        pytest.param([0.1, 0.9, 0.5], [0.0, 0.0, 1.0], 0.5, id="half"),
    ],
)
def test_ranking(scores: list[float], hard: list[float], area: float) -> None:
    assert measure_ranking(np.array(scores), np.array(hard)) == area


def test_ranking_by_degrees_compares_only_what_differs() -> None:
    assert measure_ranking(np.array([0.1, 0.5, 0.3]), np.array([0.0, 1.0, 0.5])) == 1.0
    assert measure_ranking(np.array([0.1, 0.5, 0.7]), np.array([0.0, 1.0, 0.5])) == pytest.approx(2 / 3)
    assert measure_ranking(np.array([0.9, 0.5, 0.7]), np.array([0.0, 0.0, 1.0])) == 0.5


def test_a_frame_with_fewer_errors_than_a_hard_one_is_hard_in_part() -> None:
    two = LabelledFrame(
        AuditedFrame("f-1", NOON, ROAD, {"a": 1}, (), "", ""), (CAR, CAR.model_copy(update={"x1": 0.25})), NOON
    )
    assert [two.hardness(CONTROLLED.model_copy(update={"hard_errors": n})) for n in (1, 2, 4)] == [1.0, 1.0, 0.5]


def test_better_means_surely_better() -> None:
    dice = Random(4)
    hard = [dice.random() < 0.2 for _ in range(200)]
    good = [one + dice.gauss(0, 0.5) for one in hard]
    noise = [dice.random() for _ in hard]
    assert is_better(good, noise, hard)
    assert not is_better(noise, good, hard)
    assert not is_better(good, good, hard)


def test_a_predictor_ships_that_orders_fresh_frames_better_and_never_twice() -> None:
    lessons = audit(400)
    policy = propose(lessons, CONTROLLED)
    assert policy
    assert policy.predictor
    assert policy.predictor.fitted_on == 300, "the newest 100 frames judge it"
    assert policy.predictor.fitted_until == lessons[299].at
    assert propose(lessons, policy) is None
    kept = [score.combine(one.frame.parts, ROAD, policy) >= policy.threshold for one in lessons]
    left = (policy.keep_budget - policy.audit_share) / (1 - policy.audit_share)
    assert np.mean(kept) == pytest.approx(left, abs=0.01)


@pytest.mark.parametrize(
    ("lessons", "policy"),
    [
        pytest.param([], CONTROLLED, id="no-lessons"),
        pytest.param(audit(FRESH), CONTROLLED, id="all-of-them-fresh"),
        pytest.param(audit(240, prevalence=0.12), CONTROLLED, id="too-few-hard-ones-to-fit"),
        pytest.param(audit(600, prevalence=0.0), CONTROLLED, id="no-hard-ones"),
        pytest.param(audit(600, prevalence=1.0), CONTROLLED, id="only-hard-ones"),
        pytest.param(audit(600, informed=False), CONTROLLED, id="nothing-tells-them"),
        pytest.param(
            audit(600),
            CONTROLLED.model_copy(update={"weights": {"disagreement": 1.0}}),
            id="what-is-in-force-is-as-good",
        ),
    ],
)
def test_nothing_ships(lessons: list[LabelledFrame], policy: ScreenPolicy) -> None:
    assert propose(lessons, policy) is None


@given(st.permutations(range(40)))
def test_the_order_in_which_lessons_come_in_does_not_matter(order: list[int]) -> None:
    lessons = audit(40)
    assert select_recent([lessons[place] for place in order]) == lessons


def test_lessons_are_of_the_last_14_days_and_have_a_score() -> None:
    old, unjudged = lesson(0, {"a": 1}, hard=True), lesson(30_000, {}, hard=True)
    new = lesson(int(DAYS / timedelta(minutes=1)), {"a": 1}, hard=True)
    assert select_recent([new, unjudged, old]) == [new]


def test_a_start_threshold_lets_the_budget_through() -> None:
    scores = [number / 1_000 for number in range(1_000)]
    policy = CONTROLLED.model_copy(update={"keep_budget": 0.1, "audit_share": 0.0})
    assert choose_start_threshold(scores, policy) == 0.9
    assert choose_start_threshold(scores, policy.model_copy(update={"keep_budget": 0.0})) == 1.0


def empty(number: int, *values: float, eye: str = "second/1") -> LabelledFrame:
    return lesson(number, {}, hard=False, embedding=as_text(pack(np.array(values))), eye=eye)


def told(found: EmptyScenes | None) -> list[list[float]]:
    return [unpack(from_text(text)).tolist() for text in found.scenes] if found else []


def test_empty_scenes_are_as_unlike_each_other_as_can_be_the_newest_first() -> None:
    lessons = [empty(1, 0, 0), empty(2, 0.25, 0), empty(3, 8, 8), empty(4, 4, 4)]
    assert told(choose_empty_scenes(lessons))[:3] == [[4, 4], [8, 8], [0, 0]]
    assert told(choose_empty_scenes([empty(number, 1, 1) for number in range(5)])) == [[1, 1]]
    many = [empty(number, *np.random.default_rng(number).random(3)) for number in range(200)]
    assert len(told(choose_empty_scenes(many))) == EMPTIES


def test_only_what_people_saw_nothing_in_is_empty_and_only_by_the_network_that_looks_now() -> None:
    seen = lesson(9, {}, hard=True, embedding=as_text(pack(np.array([1.0]))))
    assert choose_empty_scenes([seen, lesson(8, {}, hard=False)]) is None
    found = choose_empty_scenes([empty(1, 5, eye="second/1"), empty(2, 6, eye="second/2"), seen])
    assert found
    assert (found.eye, told(found)) == ("second/2", [[6]])


def test_learned_is_what_the_policy_asks_for() -> None:
    lessons = [*audit(400), *(empty(1_000 + number, number, number) for number in range(NEW_EMPTIES))]
    both = improve_policy(lessons, CONTROLLED.model_copy(update={"no_target_cosine": 0.6}))
    assert both
    assert both.predictor
    assert len(told(both.empty_scenes)) == NEW_EMPTIES
    score_alone = improve_policy(lessons, CONTROLLED)
    assert score_alone
    assert score_alone.empty_scenes is None
    open_loop = ScreenPolicy(version=3, threshold=0.5)
    assert improve_policy(lessons, open_loop) is None, "a fixed threshold means what it meant"
    empties_alone = improve_policy(lessons, open_loop.model_copy(update={"no_target_cosine": 0.6}))
    assert empties_alone
    assert (empties_alone.predictor, empties_alone.threshold) == (None, 0.5)
    assert improve_policy(lessons, both) is None, "the same again is no news"
    more = [*lessons, *(empty(2_000 + number, number, -number) for number in range(NEW_EMPTIES + 1))]
    assert improve_policy(more, both) is not None


def test_a_predictor_without_parts_is_its_intercept() -> None:
    assert score.chance({}, ROAD, ErrorPredictor(intercept=0, weights={})) == 0.5

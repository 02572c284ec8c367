"""Named rules: which frames are of their kind, and how many each may keep."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roadloop_schemas.fields import Condition
from roadloop_schemas.policies import KeepRule, ScreenPolicy
from screen.memory.keep_rules import IN_A_ROW, add_frame, matches, select_allowed, select_matching
from screen.vision.detections import Box
from tests.builders import make_frame

FRAME = make_frame(condition=Condition.NIGHT, signals=("hard_brake",))
BIKE = Box(0.1, 0.1, 0.2, 0.2, 0.3, "bicycle")
ANY_NIGHT = KeepRule(name="night", condition=Condition.NIGHT, quota=0.1)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param({"condition": "night"}, True, id="its-condition"),
        pytest.param({"condition": "rain"}, False, id="another-condition"),
        pytest.param({"class_name": "bicycle"}, True, id="its-class"),
        pytest.param({"class_name": "bicycle", "min_score": 0.31}, False, id="too-unsure"),
        pytest.param({"class_name": "bicycle", "min_score": 0.3}, True, id="just-sure-enough"),
        pytest.param({"class_name": "bus"}, False, id="another-class"),
        pytest.param({"signal": "hard_brake"}, True, id="its-signal"),
        pytest.param({"signal": "swerve"}, False, id="another-signal"),
        pytest.param({"condition": "night", "class_name": "bicycle", "signal": "hard_brake"}, True, id="all-of-it"),
        pytest.param({"condition": "rain", "class_name": "bicycle"}, False, id="not-all-of-it"),
    ],
)
def test_a_frame_is_of_a_rules_kind(asked: dict[str, Any], found: bool) -> None:
    assert matches(KeepRule(name="r", **asked), FRAME, (BIKE,)) == found


def test_a_rule_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="a rule needs a condition, a class_name or a signal"):
        KeepRule(name="everything")


@given(st.lists(st.booleans(), max_size=400), st.floats(0, 1))
def test_a_rule_never_keeps_more_than_its_quota_and_what_was_saved(comes: list[bool], quota: float) -> None:
    rules, allowances, kept = (ANY_NIGHT.model_copy(update={"quota": quota}),), dict[str, float](), 0
    for is_night in comes:
        one = FRAME if is_night else FRAME.model_copy(update={"condition": Condition.RAIN})
        kept_by = select_allowed(select_matching(rules, one, ()), allowances)
        kept += bool(kept_by)
        allowances = add_frame(rules, kept_by, allowances)
        assert 0 <= allowances["night"] <= IN_A_ROW
    assert kept <= quota * len(comes) + 2


def test_rules_that_share_a_frame_each_pay_for_it_and_a_rule_without_allowance_keeps_none() -> None:
    other = KeepRule(name="bike", class_name="bicycle", quota=0.1)
    allowances = {"night": 3.0, "bike": 0.5}
    assert select_matching((ANY_NIGHT, other), FRAME, (BIKE,)) == ("night", "bike")
    assert select_allowed(("night", "bike"), allowances) == ("night",)
    assert add_frame((ANY_NIGHT, other), ("night",), allowances) == {"night": 2.1, "bike": 0.6}


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two rules have one name"):
        ScreenPolicy(version=1, threshold=0.5, rules=(ANY_NIGHT, ANY_NIGHT))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param({"slice_range": (0.7, 0.02)}, "the least share comes first", id="a-range-the-wrong-way-round"),
        pytest.param({"empty_scenes": {"eye": "a/1", "scenes": ["A="]}}, "scenes", id="no-base64"),
        pytest.param({"empty_scenes": {"eye": "a/1", "scenes": ["AAAA"]}}, "even number of bytes", id="no-float16"),
    ],
)
def test_a_policy_that_would_fail_frame_by_frame_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScreenPolicy(version=1, threshold=0.5, **asked)

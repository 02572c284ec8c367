"""Blur is told by a camera's own usual sharpness, and not by a number for all."""

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screen.memory.sharpness import KNOWN_AFTER, NOTHING_USUAL, Sharpness, add_picture, compare_to_usual, is_blurred

RATIO = 0.15


def seen(variances: list[float]) -> Sharpness:
    usual = NOTHING_USUAL
    for variance in variances:
        usual = add_picture(usual, variance, ratio=RATIO)
    return usual


@pytest.mark.parametrize("usually", [964.0, 121.0, 19.0])
def test_every_camera_has_its_own_measure(usually: float) -> None:
    """The medians of three sharp clips, and what a blur of 2.5 pixels left of the first two: 4.3 and 2.4."""
    dice = np.random.default_rng(3)
    variances = [float(usually * dice.lognormal(0, 0.3)) for _ in range(2_000)]
    usual = seen(variances)
    assert usual.median == pytest.approx(median(variances), rel=0.15)
    assert not any(is_blurred(usual, one, ratio=RATIO, at_night=False) for one in variances)
    assert is_blurred(usual, usually / 50, ratio=RATIO, at_night=False)


def test_a_camera_that_was_seen_too_little_blurs_nothing() -> None:
    usual = seen([500.0] * (KNOWN_AFTER - 1))
    assert compare_to_usual(usual, 1.0) is None
    assert not is_blurred(usual, 1.0, ratio=RATIO, at_night=False)
    assert is_blurred(add_picture(usual, 500.0, ratio=RATIO), 1.0, ratio=RATIO, at_night=False)


def test_at_night_the_third_blurred_frame_in_a_row_is_the_first_to_go() -> None:
    usual, told = seen([500.0] * KNOWN_AFTER), list[bool]()
    for variance in (1.0, 1.0, 500.0, 1.0, 1.0, 1.0, 1.0):
        told.append(is_blurred(usual, variance, ratio=RATIO, at_night=True))
        usual = add_picture(usual, variance, ratio=RATIO)
    assert told == [False, False, False, False, False, True, True]


def test_another_lens_is_learned_within_some_hundred_frames() -> None:
    usual = seen([964.0] * 300 + [19.0] * 250)
    assert usual.median == pytest.approx(19.0, rel=0.05)


@given(st.lists(st.floats(0, 1e9), max_size=80), st.floats(0, 1))
def test_no_picture_breaks_it(variances: list[float], ratio: float) -> None:
    usual = NOTHING_USUAL
    for variance in variances:
        is_blurred(usual, variance, ratio=ratio, at_night=False)
        usual = add_picture(usual, variance, ratio=ratio)
    assert usual.median >= 0
    assert usual.seen == len(variances)

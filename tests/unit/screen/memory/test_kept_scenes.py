"""Whole pictures as embeddings: what is usual, what is like what was kept, and how it is remembered."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from screen.memory import embedding_statistics, kept_scenes
from screen.memory.embedding_statistics import (
    KNOWN_AFTER,
    NOTHING_SCENIC,
    Scenery,
    measure_unusualness,
    normalise,
    usual_of,
    whiten,
)
from screen.memory.kept_scenes import BLOCK_SCENES, BLOCKS, NOTHING_KEPT, PLACES, KeptScenes
from screen.vision.embedding import LARGEST, as_text, from_text, pack, unpack

EYE = "second.acme/1"


def usual(frames: int = 400, dimensions: int = 8, eye: str = EYE) -> Scenery:
    """Return what is usual where dimension d is normal around 10 d with a deviation of d + 1."""
    dice, known = np.random.default_rng(3), NOTHING_SCENIC
    spread = np.arange(dimensions) + 1
    for _ in range(frames):
        known = embedding_statistics.add_picture(
            known, eye, pack(10 * np.arange(dimensions) + spread * dice.standard_normal(dimensions))
        )
    return known


def unit(*values: float) -> np.ndarray:
    return normalise(np.array(values, np.float32))


@given(st.lists(st.floats(-60_000, 60_000, width=16), min_size=1))
def test_an_embedding_survives_its_packing(values: list[float]) -> None:
    packed = pack(np.array(values))
    assert unpack(packed).tolist() == values
    assert from_text(as_text(packed)) == packed


def test_what_is_no_number_is_packed_as_one() -> None:
    assert unpack(pack(np.array([np.nan, np.inf, -np.inf, 1e9]))).tolist() == [0, LARGEST, -LARGEST, LARGEST]


@pytest.mark.parametrize("text", ["AAA", "A=", "§", "AAAA"])
def test_a_text_that_is_no_embedding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an embedding is base64 of float16"):
        from_text(text)


def test_what_is_usual_is_learnt_and_taken_away() -> None:
    known = usual()
    mean, variance = known.mean_and_variance
    assert mean == pytest.approx(10 * np.arange(8), abs=1)
    assert np.sqrt(variance) == pytest.approx(np.arange(8) + 1, rel=0.2)
    known_now = usual_of(known, EYE, 8)
    assert known_now is not None
    z = whiten(known_now, unpack(pack(10 * np.arange(8) + np.arange(8) + 1)))
    assert z == pytest.approx(np.ones(8), abs=0.3)
    assert measure_unusualness(z) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    ("known", "eye", "dimensions"),
    [
        pytest.param(NOTHING_SCENIC, EYE, 8, id="nothing-was-seen"),
        pytest.param(usual(KNOWN_AFTER - 1), EYE, 8, id="too-little-was-seen"),
        pytest.param(usual(), "second.acme/2", 8, id="by-another-network"),
        pytest.param(usual(), EYE, 9, id="of-other-dimensions"),
    ],
)
def test_what_cannot_be_compared_is_not(known: Scenery, eye: str, dimensions: int) -> None:
    assert usual_of(known, eye, dimensions) is None


def test_another_network_begins_anew() -> None:
    other = embedding_statistics.add_picture(usual(), "second.acme/2", pack(np.ones(3)))
    assert (other.eye, other.seen, other.mean_and_variance.shape) == ("second.acme/2", 1, (2, 3))


@pytest.mark.parametrize(
    ("z", "value"),
    [
        pytest.param([0.0, 0.0], 0.0, id="the-mean-itself"),
        pytest.param([3.0, -3.0], 0.75, id="three-deviations"),
        pytest.param([], 0.0, id="no-dimensions"),
    ],
)
def test_unusualness(z: list[float], value: float) -> None:
    assert measure_unusualness(np.array(z, np.float32)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("held", "asked", "cosine"),
    [
        pytest.param([], (1, 0), None, id="nothing-kept"),
        pytest.param([(1, 0)], (1, 0), 1.0, id="the-same"),
        pytest.param([(1, 0)], (0, 1), 0.0, id="at-right-angles"),
        pytest.param([(1, 0)], (-2, 0), -1.0, id="the-opposite"),
        pytest.param([(1, 0), (3, 4)], (0, 1), 0.8, id="the-nearest-counts"),
        pytest.param([(1, 0)], (1, 0, 0), None, id="of-other-dimensions"),
    ],
)
def test_the_nearest_kept_scene(held: list[tuple[float, ...]], asked: tuple[float, ...], cosine: float | None) -> None:
    kept = NOTHING_KEPT
    for values in held:
        kept = kept_scenes.add(kept, EYE, unit(*values))
    assert kept_scenes.find_nearest_cosine(kept, EYE, unit(*asked)) == pytest.approx(cosine, abs=1e-3)
    assert kept_scenes.find_nearest_cosine(kept, "another/1", unit(*asked)) is None


def test_the_oldest_scenes_go_and_numbers_go_on() -> None:
    dice, kept = Random(1), NOTHING_KEPT
    scenes = [unit(dice.random(), dice.random(), dice.random()) for _ in range(PLACES + 3 * BLOCK_SCENES + 5)]
    for scene in scenes:
        kept = kept_scenes.add(kept, EYE, scene)
    assert kept.next_number == len(scenes)
    held = [(number, scene.tolist()) for _, number, scene in kept.since(0)]
    assert PLACES <= len(held) <= (BLOCKS + 1) * BLOCK_SCENES
    assert held == [(number, scenes[number].tolist()) for number in range(len(scenes) - len(held), len(scenes))]
    assert [number for _, number, _ in kept.since(len(scenes) - 2)] == [len(scenes) - 2, len(scenes) - 1]


def test_scenes_of_another_network_are_not_looked_at_any_more() -> None:
    kept = kept_scenes.add(kept_scenes.add(NOTHING_KEPT, EYE, unit(1, 0)), "second.acme/2", unit(0, 1))
    assert isinstance(kept, KeptScenes)
    assert [(number, scene.tolist()) for _, number, scene in kept.since(0)] == [(1, [0, 1])]
    assert kept_scenes.find_nearest_cosine(kept, EYE, unit(1, 0)) is None

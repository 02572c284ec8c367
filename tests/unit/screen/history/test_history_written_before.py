"""Rows of history that earlier code wrote are still read, and give the facts that their verdicts were decided from."""

import pyarrow.parquet as pq

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import VerdictReason
from screen.decision.facts import Facts
from screen.decision.frame_keys import FrameKeys
from screen.decision.near_duplicates import Picture
from screen.history.rows import SCHEMA, add_eye, facts_of_row, picture_of_row
from screen.vision.detections import Unjudged
from tests.data.written_before.read import OF_NOVEMBER

TABLE = pq.read_table(OF_NOVEMBER / "verdicts.parquet")
ROWS = TABLE.to_pylist()
EYE = "second.acme/1"
RAIN = FrameKeys("acme", "car-1", "front", Condition.RAIN, "d-1", EYE, (3, 4))
NIGHT = FrameKeys("acme", "car-1", "front", Condition.NIGHT, "d-1", EYE, (3, 4))
FACTS = [
    Facts(
        "f-1",
        RAIN,
        lot=0.7000612584983833,
        brightness=0.5,
        laplacian_variance=100.0,
        parts={
            "uncertainty": 0.333333,
            "low_top_score": 0.5,
            "crowd": 0.25,
            "objects": 0.166667,
            "overlap": 0.0,
            "inconsistency": 0.0,
            "disagreement": 0.333333,
            "unusual": 0.464102,
            "novelty": 0.1836,
        },
        nearest_bits=8,
        nearest_step=0.0,
        nearest_cosine=0.8164,
        new_object=True,
    ),
    Facts(
        "f-2",
        RAIN,
        lot=0.853901325032468,
        brightness=0.25,
        laplacian_variance=100.0,
        parts={
            "uncertainty": 0.333333,
            "low_top_score": 0.5,
            "crowd": 0.25,
            "objects": 0.166667,
            "overlap": 0.0,
            "inconsistency": 0.0,
            "disagreement": 0.0,
            "unusual": 0.460363,
            "novelty": 0.0001,
        },
        nearest_bits=1,
        nearest_step=0.0,
        nearest_cosine=0.9999,
        light_change=0.25,
    ),
    Facts(
        "f-3",
        NIGHT,
        lot=0.3934661006590388,
        brightness=0.5,
        laplacian_variance=100.0,
        parts={
            "uncertainty": 0.181188,
            "low_top_score": 0.125,
            "crowd": 0.0,
            "objects": 0.166667,
            "overlap": 0.0,
            "inconsistency": 0.583138,
            "disagreement": 0.0,
            "unusual": 0.551963,
        },
        nearest_bits=0,
        light_change=0.0,
        new_object=True,
        matched=("night bus",),
    ),
    Facts(
        "f-4",
        RAIN,
        lot=0.7745767763892174,
        brightness=0.5,
        laplacian_variance=100.0,
        unjudged=Unjudged(VerdictReason.OBJECT_MISSING, "the object is not there"),
    ),
]


def test_no_column_is_gone_or_of_another_type() -> None:
    today = {field.name: field.type for field in SCHEMA}
    assert {field.name: today.get(field.name) for field in TABLE.schema} == {
        field.name: field.type for field in TABLE.schema
    }


def test_a_row_gives_the_facts_that_were() -> None:
    found = [(row, facts_of_row(row)) for row in ROWS]
    assert [facts and add_eye(row, facts) for row, facts in found] == FACTS


def test_a_row_gives_what_its_picture_was_compared_by() -> None:
    assert [picture_of_row(row) for row in ROWS] == [
        Picture("0000000000000000", 0.5, b"\x00\x3c\x00\x00", (("car", 1),), (("car", 1),)),
        Picture("0000000000000001", 0.25, b"\x00\x3c\x00\x00", (("car", 1),), (("car", 1),)),
        Picture("000000000000ff00", 0.5, b"\x00\x00\x00\x3c", (("bus", 1),), (("bus", 1),)),
        Picture("000000000000ffff", 0.5, b"", (), ()),
    ]


def test_a_row_says_what_was_decided() -> None:
    decided = ("verdict", "reasons", "rules", "threshold", "score", "policy_version", "shadow_version", "debt", "echo")
    assert [tuple(row[name] for name in decided) for row in ROWS] == [
        ("kept", ["score"], [], 0.25, 0.345192, 7, 4, 2.5, 1.25),
        ("dropped", ["near_duplicate"], [], 0.25, 0.260924, 7, 4, 1.6, 1.403294),
        ("kept", ["audit", "rule"], ["night bus"], 0.25, 0.183288, 7, 4, 0.0, 1.187863),
        ("quarantined", ["object_missing"], [], 0.25, None, 7, None, 1.7, 0.0),
    ]
    assert [row["claims"] for row in ROWS] == [
        [{"x1": 0.1, "y1": 0.1, "x2": 0.3, "y2": 0.3, "score": 0.5, "class_name": "car"}],
        [],
        [{"x1": 0.5, "y1": 0.25, "x2": 0.75, "y2": 0.5, "score": 0.875, "class_name": "bus"}],
        [],
    ]

"""What a dataset is, and what a set of frames must be."""

import io
import json
import zipfile
from dataclasses import replace

import pytest

from roadloop_schemas.fields import LabelBox
from tests.builders import make_label_box, make_object
from trainer_trigger.reasons import SetReason
from trainer_trigger.refusals import BadSet
from trainer_trigger.tables.label_table import Label, digest_of
from trainer_trigger.training.dataset import dataset_id
from trainer_trigger.training.frame_set import Line, inspect

CAR = make_label_box("car")
BUS = make_label_box("bus", x1=0.5, y1=0.5, x2=0.9, y2=0.9)
BASE = "a" * 64


def label(frame_id: str, *boxes: LabelBox) -> Label:
    return Label(frame_id, 1, make_object(f"{frame_id}.jpg"), boxes, digest_of(boxes), "clear")


LABELS = [label("f1", CAR), label("f2", CAR, BUS), label("f3")]


def test_a_dataset_has_the_same_id_in_any_order() -> None:
    turned = [label("f3"), label("f2", BUS, CAR), label("f1", CAR)]
    assert dataset_id(turned, BASE) == dataset_id(LABELS, BASE)


@pytest.mark.parametrize(
    ("labels", "base"),
    [
        pytest.param(LABELS[:2], BASE, id="a-label-less"),
        pytest.param([*LABELS[:2], label("f3", CAR)], BASE, id="other-boxes"),
        pytest.param([*LABELS[:2], replace(LABELS[2], label_version=2)], BASE, id="another-version-of-a-label"),
        pytest.param(LABELS, "c" * 64, id="another-base-set"),
    ],
)
def test_a_dataset_with_other_content_has_another_id(labels: list[Label], base: str) -> None:
    assert dataset_id(labels, base) != dataset_id(LABELS, BASE)


def zipped(changes: dict[str, str | None] | None = None) -> bytes:
    """A good set, with files changed or (None) left out."""
    row = {"image": "images/clear-1.jpg", "boxes": [{"class": "car", "x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 0.4}]}
    files: dict[str, str | None] = {
        "classes.json": '["car"]',
        "train.jsonl": json.dumps(row),
        "images/clear-1.jpg": "x",
    }
    files |= changes or {}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            if text is not None:
                archive.writestr(name, text)
    return content.getvalue()


def test_a_line_without_condition_takes_it_from_the_name_of_its_picture() -> None:
    found = inspect(zipped(), "train")
    assert found.classes == ("car",)
    assert found.lines == (Line("images/clear-1.jpg", (("car", 0.1, 0.2, 0.3, 0.4),), "clear", "images/clear-1.jpg"),)
    assert len(found.pictures) == 1


BAD_CLASS = json.dumps({"image": "images/clear-1.jpg", "boxes": [{"class": "cow", "x1": 0, "y1": 0, "x2": 1, "y2": 1}]})
BAD_BOX = json.dumps({"image": "images/clear-1.jpg", "boxes": [{"class": "car", "x1": 0, "y1": 0, "x2": 2, "y2": 1}]})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"no zip at all", SetReason.NO_ZIP, id="no-zip"),
        pytest.param(zipped({"classes.json": None}), SetReason.NO_CLASSES, id="no-classes"),
        pytest.param(zipped({"classes.json": "{}"}), SetReason.NO_CLASSES, id="classes-that-are-no-list"),
        pytest.param(zipped({"train.jsonl": None}), SetReason.NO_LINES, id="no-lines-file"),
        pytest.param(zipped({"train.jsonl": "\n"}), SetReason.NO_LINES, id="a-lines-file-without-lines"),
        pytest.param(zipped({"train.jsonl": "{}"}), SetReason.BAD_LINE, id="a-line-that-is-no-frame"),
        pytest.param(zipped({"train.jsonl": BAD_CLASS}), SetReason.BAD_LINE, id="a-class-nobody-knows"),
        pytest.param(zipped({"train.jsonl": BAD_BOX}), SetReason.BAD_LINE, id="a-box-that-leaves-the-picture"),
        pytest.param(zipped({"images/clear-1.jpg": None}), SetReason.NO_PICTURE, id="a-picture-is-missing"),
        pytest.param(zipped({"../evil": "x"}), SetReason.FOREIGN_PATH, id="a-name-that-leads-out"),
    ],
)
def test_a_set_that_cannot_be_used_says_why(content: bytes, reason: SetReason) -> None:
    with pytest.raises(BadSet) as refused:
        inspect(content, "train")
    assert refused.value.reason == reason

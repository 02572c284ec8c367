"""`roadloop annotate`: every picture once, under a name of its own, never over another; bad ones are named."""

import asyncio
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadloop_runtime.cli.terminal import Refused
from screen.commands.annotated_pictures import Page, PageOutcome, annotate_all, plan_pages
from screen.inference.predict import RefusedByModel
from screen.vision.detections import Box
from screen.vision.draw_boxes import draw_on
from tests.unit.screen.networks import picture

BOX = Box(0.25, 0.5, 0.75, 0.9, 0.9, "car")


def lay_out(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(200, 160))
    return folder


def planned(pages: Sequence[Page], out: Path) -> list[tuple[str, str]]:
    return [(page.name, page.target.relative_to(out).as_posix() if page.target else "") for page in pages]


def test_copies_lie_where_their_pictures_lie(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in", "b/a.jpg", "a.jpg", "a.PNG", "a/a.jpeg", "notes.txt")
    assert planned(plan_pages(source, tmp_path / "out"), tmp_path / "out") == [
        (name, name) for name in ("a.PNG", "a.jpg", "a/a.jpeg", "b/a.jpg")
    ]


def test_one_picture_whatever_its_ending(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in", "a.bin") / "a.bin"
    assert planned(plan_pages(source, tmp_path / "out"), tmp_path / "out") == [("a.bin", "a.bin.jpg")]


def test_what_was_written_before_is_not_annotated_again(tmp_path: Path) -> None:
    source = lay_out(tmp_path, "a.jpg", "out/a.jpg")
    assert [page.name for page in plan_pages(source, tmp_path / "out")] == ["a.jpg"]


@pytest.mark.parametrize(
    ("names", "source", "out"),
    [
        pytest.param(["a.jpg"], ".", ".", id="the folder itself"),
        pytest.param(["a.jpg"], "a.jpg", ".", id="the picture's own folder"),
        pytest.param(["x/y/x/y/a.jpg", "x/y/a.jpg"], "x/y", ".", id="only one of many"),
    ],
)
def test_no_picture_is_written_over(names: list[str], source: str, out: str, tmp_path: Path) -> None:
    lay_out(tmp_path, *names)
    if "x" in source:
        (tmp_path / "a.jpg").symlink_to(tmp_path / "x/y/a.jpg")
    with pytest.raises(Refused, match="give --out a folder that holds none of them"):
        plan_pages(tmp_path / source, tmp_path / out)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"has no picture: files that end with \.jpg, \.jpeg, \.png"):
        plan_pages(tmp_path, tmp_path / "out")


async def see(content: bytes) -> tuple[Box, ...]:
    if content.startswith(b"refused"):
        raise RefusedByModel("bad picture: neither JPEG nor PNG")
    return (BOX,)


async def run(source: Path, out: Path, at_once: int = 3) -> tuple[int, list[Any], list[PageOutcome]]:
    lines, told = StringIO(), list[PageOutcome]()
    failed = await annotate_all(plan_pages(source, out), see, lines, shown_from=0.3, at_once=at_once, tell=told.append)
    return failed, [json.loads(line) for line in lines.getvalue().splitlines()], told


async def test_bad_pictures_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in", "a.jpg", "d/z.png")
    (source / "b.jpg").write_bytes(b"refused")
    (source / "c.jpg").write_bytes(b"seen, but not to be drawn on")
    (source / "e.jpg").symlink_to(source / "gone.jpg")
    failed, lines, told = await run(source, tmp_path / "out")
    assert failed == 3
    assert [(line["picture"], line.get("error", "")[:24]) for line in lines] == [
        ("a.jpg", ""),
        ("b.jpg", "bad picture: neither JPE"),
        ("c.jpg", "the picture is damaged"),
        ("d/z.png", ""),
        ("e.jpg", "[Errno 2] No such file o"),
    ]
    assert lines[0]["detections"] == [{"x1": 0.25, "y1": 0.5, "x2": 0.75, "y2": 0.9, "score": 0.9, "class_name": "car"}]
    assert {one.name for one in told} == {line["picture"] for line in lines}
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*g")) == ["a.jpg", "z.png"]


async def test_boxes_are_drawn_and_the_picture_keeps_its_size(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "in", "a.png")
    await run(source, tmp_path / "out")
    before, after = (cv2.imread(str(tmp_path / name / "a.png")) for name in ("in", "out"))
    assert before.shape == after.shape
    assert (before != after).any()
    assert (before[:50] == after[:50]).all(), "nothing is drawn above the box and its label"
    assert (source / "a.png").read_bytes() == picture(200, 160)


async def test_a_long_run_holds_few_pictures_at_once(tmp_path: Path) -> None:
    source, now, most = lay_out(tmp_path / "in", *(f"{n:03}.png" for n in range(70))), 0, 0

    async def count(content: bytes) -> tuple[Box, ...]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return ()

    lines = StringIO()
    failed = await annotate_all(
        plan_pages(source, None), count, lines, shown_from=0.3, at_once=4, tell=lambda told: None
    )
    assert (failed, most) == (0, 4)
    named = [json.loads(line)["picture"] for line in lines.getvalue().splitlines()]
    assert named == sorted(path.name for path in source.iterdir())


@pytest.mark.parametrize("size", [(40, 60), (400, 600), (2000, 1500)], ids=str)
@pytest.mark.parametrize("box", [BOX, Box(0, 0, 1, 1, 1.0, "car"), Box(0.99, 0.99, 1, 1, 0.5, "a long class name")])
def test_labels_are_inside_the_picture_and_can_be_read(box: Box, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 128, np.uint8)
    draw_on(image, [box])
    changed = np.argwhere((image != 128).any(2))
    assert len(changed) > 100
    colours = {tuple(pixel) for pixel in image.reshape(-1, 3)[:: max(1, size[0] // 200)]}
    assert any(not 60 <= sum(map(int, colour)) <= 700 for colour in colours), "letters are black or white"


def test_what_is_too_unsure_is_not_drawn() -> None:
    image = np.full((50, 50, 3), 128, np.uint8)
    draw_on(image, [BOX], shown_from=0.95)
    assert (image == 128).all()

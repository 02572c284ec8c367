"""`roadloop models add` and `roadloop annotate` as they are typed: what they print, write and end with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from screen import commands as screen_commands
from tests.unit.screen.networks import folder, picture, says
from trainer_trigger import commands as trainer_commands

YOLO = says({"output0": np.array([[32, 32, 16, 16, 0.1, 0.8], [10, 30, 8, 8, 0.01, 0.02]])})
RAW = says({"output0": np.array([[32, 32, 16, 16, -3, 2], [10, 30, 8, 8, -4, -5]])})


def run(*arguments: str | Path, only: Any = None) -> tuple[int, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    for register in (screen_commands.register, trainer_commands.register) if only is None else (only,):
        register(app)
    done = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return folder(tmp_path / "yolo", YOLO, family="yolo")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a.png").write_bytes(picture(128, 64))
    (tmp_path / "in" / "sub" / "a.png").write_bytes(picture(64, 64))
    return tmp_path / "in"


@pytest.mark.parametrize("name", ["", "detector.json"], ids=["its folder", "the card itself"])
def test_a_good_detector_is_tried_on_drawn_pictures(detector: Path, name: str) -> None:
    code, said = run("models", "add", detector / name)
    assert code == 0
    assert said.splitlines()[0] == "drawn-1-1280x720.jpg: 1 bus from 0.3 up; 1 in all, the best bus 0.80"
    assert (len(said.splitlines()), said.splitlines()[-1]) == (5, "nothing is wrong with it")


def test_its_boxes_are_drawn_where_asked(detector: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.jpg").write_bytes(b"bad")
    code, said = run("models", "add", detector, "--pictures", pictures, "--out", tmp_path / "out")
    assert (code, said.splitlines()[1]) == (0, "bad.jpg: neither JPEG nor PNG")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.png", "sub/a.png"]


def test_what_is_wrong_ends_with_1_and_is_not_released(tmp_path: Path) -> None:
    raw = folder(tmp_path / "raw", RAW, family="yolo")
    code, said = run("models", "add", raw, "--then", "seed", "--tenant", "a", "--model", "detector.a")
    assert code == 1
    assert said.splitlines()[-2:] == [
        "wrong: the scores reach from -5 to 2: these are no probabilities",
        '    set "activation": "sigmoid" (or "softmax")',
    ]


def test_a_doubt_does_not_keep_it_from_serving(tmp_path: Path) -> None:
    unsure = says({"output0": np.array([[32, 32, 16, 16, 0.01, 0.02], [10, 30, 8, 8, 0.01, 0.02]])})
    code, said = run("models", "add", folder(tmp_path, unsure, family="yolo"))
    assert (code, said.splitlines()[-1]) == (0, "it can serve")


@pytest.mark.parametrize(
    ("then", "said"),
    [
        pytest.param(["--then", "seed"], "--then needs --tenant and --model", id="nowhere to"),
        pytest.param(["--then", "ship", "--tenant", "a", "--model", "d.a"], "'ship' is not one of", id="no such thing"),
        pytest.param(["--then", "seed", "--tenant", "a", "--model", "d.b"], "d.b is no model of a", id="seed"),
        pytest.param(["--then", "offer", "--tenant", "a", "--model", "d.b"], "d.b is no model of a", id="offer"),
    ],
)
def test_a_good_one_goes_on_to_the_command_that_releases(
    then: list[str], said: str, detector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POSTGRES_DSN", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.setenv(f"ROADLOOP_{name}", "postgresql://127.0.0.1:9/x")
    code, output = run("models", "add", detector, *then)
    assert (code > 0, said in output) == (True, True), output


def test_where_the_other_service_is_not_installed(detector: Path) -> None:
    code, said = run(
        *("models", "add", detector, "--then", "seed", "--tenant", "a", "--model", "d.a"),
        only=screen_commands.register,
    )
    assert (code, "install roadloop-trainer-trigger" in said) == (1, True), said


def test_pictures_are_annotated_by_a_folder(detector: Path, pictures: Path, tmp_path: Path) -> None:
    code, said = run("annotate", pictures, "--out", tmp_path / "out", "--detector", detector)
    assert code == 0, said
    lines = [json.loads(line) for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()]
    assert [line["picture"] for line in lines] == ["a.png", "sub/a.png"]
    assert [line["detections"][0]["class_name"] for line in lines] == ["bus", "bus"]
    assert (tmp_path / "out" / "sub" / "a.png").is_file()


def test_one_bad_picture_of_three_is_named(detector: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "[red]bad.jpg").write_bytes(b"bad")
    code, said = run("annotate", pictures, "--out", tmp_path / "out", "--detector", detector)
    assert code == 1
    assert "[red]bad.jpg: neither JPEG nor PNG" in said
    assert said.endswith("1 of 3 pictures could not be annotated\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "give --detector FOLDER, or --triton host:port with --model", id="no detector"),
        pytest.param(["--triton", "127.0.0.1:9"], "give --detector FOLDER, or --triton", id="a server without a model"),
        pytest.param(["--detector", "nowhere"], "nowhere/detector.json is not there", id="no such detector"),
        pytest.param(["--detector", __file__], "is no card: it is called detector.json", id="another file"),
        pytest.param(
            ["--triton", "127.0.0.1:9", "--model", "m.a", "--card", "nowhere"],
            "nowhere/detector.json is not",
            id="no card",
        ),
    ],
)
def test_what_cannot_be_annotated_with(arguments: list[str], said: str, pictures: Path, tmp_path: Path) -> None:
    code, output = run("annotate", pictures, "--out", tmp_path / "out", *arguments)
    assert (code, said in output) == (1, True), output
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_away_is_said_in_one_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screen.commands.annotate.TRIES", 1)
    code, said = run("annotate", pictures, "--out", tmp_path, "--triton", "127.0.0.1:9", "--model", "m.a")
    assert code == 1
    assert "no answer: m.a: " in said
    assert said.rstrip().endswith("check --triton, --model and --version")


def test_a_detector_that_does_not_fit_its_card_annotates_nothing(pictures: Path, tmp_path: Path) -> None:
    other = folder(tmp_path / "other", YOLO, family="yolo", classes=["car"])
    code, said = run("annotate", pictures, "--out", tmp_path / "out", "--detector", other)
    assert (code, "4 for a box and 1 classes make 5: `roadloop models add" in said) == (1, True), said


@pytest.mark.parametrize("command", ["annotate", "add"])
def test_a_folder_that_cannot_be_written_to(command: str, detector: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    out = ("--out", tmp_path / "file")
    if command == "annotate":
        code, said = run("annotate", pictures, "--detector", detector, *out)
    else:
        code, said = run("models", "add", detector, "--pictures", pictures, *out)
    assert (code, str(tmp_path / "file") in said) == (1, True), said
    assert len(said.splitlines()) <= 2, "one line about it, and one of the picture"

"""What a person can get wrong at the command line ends with 1 or 2 and a line that says what to do: no traceback."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ingest import commands as ingest_commands
from screen import commands as screen_commands

NOWHERE = "postgresql://ingest:x@127.0.0.1:9/roadloop"


def run(register: object, *arguments: str) -> tuple[int, str]:
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)  # type: ignore[operator]
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        pytest.param("{", "a JSON object is wanted", id="half-a-document"),
        pytest.param("[]", "a JSON object is wanted", id="a-list"),
        pytest.param('{"treshold": 0.4}', "treshold is no field", id="a-misspelt-field"),
        pytest.param('{"threshold": 4}', "threshold", id="a-threshold-above-one"),
        pytest.param('{"threshold": NaN}', "threshold", id="no-number"),
        pytest.param("{}", "threshold", id="nothing"),
    ],
)
def test_a_policy_that_is_none(policy: str, said: str) -> None:
    code, output = run(
        screen_commands.register, "policies", "set", "--tenant", "demo", "--kafka", "127.0.0.1:9", policy
    )
    assert (code, said in output) == (2, True), output


@pytest.mark.parametrize("vehicle", ["../x", "a/b", "", "a b"])
def test_a_vehicle_that_is_no_name_writes_no_key(vehicle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(
        ingest_commands.register, "vehicles", "enrol", vehicle, "--tenant", "demo", "--postgres", NOWHERE
    )
    assert (code, list(tmp_path.iterdir())) == (2, []), output


def test_a_key_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    key = tmp_path / "car.pem"
    key.write_text("precious")
    code, output = run(
        *(ingest_commands.register, "vehicles", "enrol", "car", "--tenant", "demo"),
        *("--postgres", NOWHERE, "--key", str(key)),
    )
    assert (code, key.read_text(), "name another place" in output) == (2, "precious", True), output


def test_a_vehicle_that_was_not_enrolled_leaves_no_key(tmp_path: Path) -> None:
    key = tmp_path / "car.pem"
    code, output = run(
        *(ingest_commands.register, "vehicles", "enrol", "car", "--tenant", "demo"),
        *("--postgres", NOWHERE, "--key", str(key)),
    )
    assert (code, key.exists(), "check --postgres" in output) == (1, False, True), output


def test_a_database_that_is_away_is_said_in_one_line() -> None:
    code, output = run(ingest_commands.register, "books", "--postgres", NOWHERE)
    assert (code, output.count("\n"), "check --postgres" in output) == (1, 1, True), output

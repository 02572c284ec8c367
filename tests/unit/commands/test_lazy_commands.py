"""The root of `roadloop`: it lists every command without importing one, and a command imports its own module alone."""

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points

import pytest
import typer
from typer.testing import CliRunner

HEAVY = (
    "aiokafka",
    "asyncpg",
    "cv2",
    "fastapi",
    "minio",
    "numpy",
    "onnxruntime",
    "pyiceberg",
    "sqlalchemy",
    "supervisor",
)
REPORT = """
import json, sys
from roadloop_runtime.cli.root import main
sys.argv = ["roadloop", *{arguments}]
try:
    main()
except SystemExit as end:
    code = end.code
print("\\n" + json.dumps([code or 0, sorted(sys.modules)]))
"""


def registered() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    for entry in entry_points(group="roadloop.commands"):
        entry.load()(app)
    return app


def commands(app: typer.Typer, *before: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield the words of every command, its function as `module:function`, and its line of help."""
    for command in app.registered_commands:
        target = inspect.getclosurevars(command.cls.make_context).nonlocals["target"] if command.cls else ""
        yield (*before, str(command.name)), target, str(command.help)
    for group in app.registered_groups:
        assert group.typer_instance
        yield from commands(group.typer_instance, *before, str(group.name))


ALL = sorted(commands(registered()))


def modules_after(*arguments: str) -> tuple[int, set[str]]:
    """Return the exit code of a command line, and the modules that its process has imported."""
    program = REPORT.format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


def test_there_are_commands_of_every_package() -> None:
    packages = {target.partition(".")[0] for _, target, _ in ALL}
    assert packages == {
        *("ingest", "label_router", "roadloop_audit", "roadloop_local", "roadloop_runtime", "screen"),
        "trainer_trigger",
    }
    assert len(ALL) == 38


@pytest.mark.parametrize(("words", "target", "help_line"), ALL, ids=[" ".join(words) for words, _, _ in ALL])
def test_a_command_is_there_and_helps_with_the_words_it_is_listed_with(
    words: tuple[str, ...], target: str, help_line: str
) -> None:
    module, _, function = target.partition(":")
    first_paragraph = (inspect.getdoc(getattr(import_module(module), function)) or "").partition("\n\n")[0]
    assert " ".join(first_paragraph.split()) == help_line
    done = CliRunner().invoke(registered(), [*words, "--help"], env={"COLUMNS": "400"})
    assert done.exit_code == 0
    assert help_line in " ".join(done.output.split())
    assert "Options" in done.output


def test_the_list_of_commands_imports_none_of_them() -> None:
    code, modules = modules_after("--help")
    assert code == 0
    assert modules & {target.partition(":")[0] for _, target, _ in ALL} == set()
    assert modules & set(HEAVY) == set()


@pytest.mark.parametrize(
    ("arguments", "module", "not_needed"),
    [
        pytest.param(["env", "ingest"], "roadloop_local.commands.env", set(HEAVY), id="env"),
        pytest.param(["policies", "set", "--help"], "screen.commands.policies", set(HEAVY) - {"aiokafka"}, id="policy"),
        pytest.param(
            ["annotators", "enrol", "--help"], "label_router.commands.annotators", set(HEAVY) - {"asyncpg"}, id="enrol"
        ),
        pytest.param(
            ["deadletters", "list", "--help"],
            "roadloop_runtime.commands.dead_letters",
            set(HEAVY) - {"aiokafka"},
            id="dead-letters",
        ),
        pytest.param(["units", "--help"], "screen.commands.units", set(HEAVY), id="units"),
        pytest.param(
            ["models", "seed", "--help"],
            "trainer_trigger.commands.models",
            {"aiokafka", "cv2", "fastapi", "onnxruntime", "pyiceberg", "sqlalchemy"},
            id="seed",
        ),
        pytest.param(
            ["models", "list", "--help"],
            "trainer_trigger.commands.models",
            {"aiokafka", "cv2", "fastapi", "pyiceberg", "supervisor"},
            id="list",
        ),
    ],
)
def test_a_command_imports_its_own_module_alone(arguments: list[str], module: str, not_needed: set[str]) -> None:
    _, modules = modules_after(*arguments)
    assert modules & {target.partition(":")[0] for _, target, _ in ALL} == {module}
    assert modules & not_needed == set()


@pytest.mark.parametrize("arguments", [["polices"], ["models", "ad"], ["why"]])
def test_what_is_no_command_or_lacks_an_argument_is_told(arguments: list[str]) -> None:
    done = CliRunner().invoke(registered(), arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert any(words in done.output for words in ("Did you mean", "Missing argument"))

"""The command `roadloop`: its root. Every package adds its own commands by the entry point `roadloop.commands`."""

from importlib.metadata import entry_points

import typer

app = typer.Typer(
    name="roadloop",
    help="A data engine for driving fleets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Collect the commands and run one."""
    for entry in sorted(entry_points(group="roadloop.commands"), key=lambda entry: entry.name):
        entry.load()(app)
    app()

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


SHARED = {"models": "Models: what serves, trials, the first version, offers."}


def group_of(app: typer.Typer, name: str) -> typer.Typer:
    """Return the group of commands of that name, to which several packages add theirs."""
    for known in app.registered_groups:
        if known.name == name and known.typer_instance is not None:
            return known.typer_instance
    group = typer.Typer(help=SHARED[name], no_args_is_help=True)
    app.add_typer(group, name=name)
    return group


def main() -> None:
    """Collect the commands and run one."""
    for entry in sorted(entry_points(group="roadloop.commands"), key=lambda entry: entry.name):
        entry.load()(app)
    app()

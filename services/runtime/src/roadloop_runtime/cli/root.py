"""The command `roadloop`: its root. Every package adds its own commands by the entry point `roadloop.commands`.

A package says its commands' names and help; the module of a command is imported when it is asked for, for most of them
bring a client that takes longer to import than they take to run.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

app = typer.Typer(
    name="roadloop",
    help="A data engine for driving fleets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def add_commands(
    app: typer.Typer, commands: Mapping[str, tuple[str, str]], groups: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Add commands without importing them.

    `commands` are by the words that are typed: the function as `module:function`, and its line of help. `groups` are
    the groups that their first words name, with their lines of help.
    """
    for words, (target, help_line) in commands.items():
        group, _, name = words.rpartition(" ")
        add_command(_find_group(app, group, groups[group]) if group else app, name, target, help_line)


def _find_group(app: typer.Typer, name: str, help_line: str) -> typer.Typer:
    """Return the group of commands of that name, to which several packages may add theirs."""
    for registered in app.registered_groups:
        if registered.name == name and registered.typer_instance is not None:
            return registered.typer_instance
    group = typer.Typer(help=help_line, no_args_is_help=True)
    app.add_typer(group, name=name)
    return group


def add_command(group: typer.Typer, name: str, target: str, help_line: str) -> None:
    """Add a command without importing it. `target` is its function, as `module:function`."""

    class ImportedWhenAsked(TyperCommand):
        """Stands for a command in lists of them, and lets it read its own options."""

        def make_context(self, *arguments: Any, **more: Any) -> Any:
            return load(name, target).make_context(*arguments, **more)

    def stand_in() -> None:
        """Never run: the context that is made is the loaded command's."""

    group.command(name, cls=ImportedWhenAsked, help=help_line)(stand_in)


def load(name: str, target: str) -> Any:
    """Import a command's function and return the command that typer makes of it."""
    module, _, function = target.partition(":")
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(getattr(import_module(module), function))
    return get_command(alone)


def main() -> None:
    """Collect the commands and run one."""
    for entry in sorted(entry_points(group="roadloop.commands"), key=lambda entry: entry.name):
        entry.load()(app)
    app()

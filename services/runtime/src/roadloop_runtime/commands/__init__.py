"""The commands of the runtime: topics, lag, dead letters. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_command, add_group


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    topics = add_group(app, "topics", "Topics, as their files describe them.")
    dead_letters = add_group(app, "deadletters", "What our loops gave up: count it, read it, replay it.")
    add_command(
        topics,
        "create",
        "roadloop_runtime.commands.topics:create_topics",
        "Create the topics that are missing; refuse a changed partition count.",
    )
    add_command(
        app,
        "lag",
        "roadloop_runtime.commands.lag:show_lag",
        "Show how many records, and how many seconds, each consumer group is behind.",
    )
    add_command(
        dead_letters,
        "list",
        "roadloop_runtime.commands.dead_letters:list_dead_letters",
        "Count the dead letters of every topic by reason.",
    )
    add_command(
        dead_letters,
        "show",
        "roadloop_runtime.commands.dead_letters:show_dead_letter",
        "Show one dead letter: why the record died, what can be done, and what it was.",
    )
    add_command(
        dead_letters,
        "replay",
        "roadloop_runtime.commands.dead_letters:replay_dead_letters",
        "Write dead letters back to the partition they came from, each once, in order; all that is said must hold.",
    )

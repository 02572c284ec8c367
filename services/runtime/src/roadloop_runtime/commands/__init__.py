"""The commands of the runtime: topics, lag, dead letters. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

GROUPS = {
    "topics": "Topics, as their files describe them.",
    "offsets": "Where groups have read to, and how to move that on purpose.",
    "deadletters": "What our loops gave up: count it, read it, replay it.",
}
COMMANDS = {
    "offsets show": (
        "roadloop_runtime.commands.offsets:show_offsets",
        "Show where a group has read to, and whether it can read on from there; 1 if it cannot.",
    ),
    "offsets reset": (
        "roadloop_runtime.commands.offsets:reset_offsets",
        "Let a group read on from somewhere else; say what is read again, and what is lost.",
    ),
    "offsets accept-gap": (
        "roadloop_runtime.commands.offsets:accept_gap",
        "Let a group go on behind records that expired before it read them; say how many are lost.",
    ),
    "topics create": (
        "roadloop_runtime.commands.topics:create_topics",
        "Create the topics that are missing; refuse a changed partition count.",
    ),
    "lag": (
        "roadloop_runtime.commands.lag:show_lag",
        "Show how many records, and how many seconds, each consumer group is behind.",
    ),
    "deadletters list": (
        "roadloop_runtime.commands.dead_letters:list_dead_letters",
        "Count the dead letters of every topic by reason.",
    ),
    "deadletters show": (
        "roadloop_runtime.commands.dead_letters:show_dead_letter",
        "Show one dead letter: why the record died, what can be done, and what it was.",
    ),
    "deadletters replay": (
        "roadloop_runtime.commands.dead_letters:replay_dead_letters",
        "Write dead letters back to the partition they came from, each once, in order; all that is said must hold.",
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS, GROUPS)

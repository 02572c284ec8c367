"""The commands of screening: policies, verdicts, detectors. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

GROUPS = {
    "policies": "What screening is asked to do.",
    "models": "Models: what serves, trials, the first version, offers.",
}
COMMANDS = {
    "policies set": (
        "screen.commands.policies:set_policy",
        "Give a tenant a new policy; workers follow within a second.",
    ),
    "why": (
        "screen.commands.why:why",
        "Say why a frame was kept, dropped or quarantined, and what it was held against.",
    ),
    "what-if": (
        "screen.commands.what_if:command",
        "Say what would have been kept under another policy. Without a change: whether today's verdicts "
        "come out again.",
    ),
    "annotate": (
        "screen.commands.annotate:annotate",
        "Write pictures with boxes, classes and scores, and detections.jsonl with all of them; 1 if one "
        "cannot be read.",
    ),
    "units": (
        "screen.commands.units:units",
        "Show which units workers look at now and how far they are, and what the last ones cost.",
    ),
    "models add": (
        "screen.commands.models:add_model",
        "Try a detector on pictures, as it will be served, and say what is wrong; 1 if something grave is.",
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS, GROUPS)

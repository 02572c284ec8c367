"""The commands of screening: policies, verdicts, detectors. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_command, add_group


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    policies = add_group(app, "policies", "What screening is asked to do.")
    models = add_group(app, "models", "Models: what serves, trials, the first version, offers.")
    add_command(
        policies,
        "set",
        "screen.commands.policies:set_policy",
        "Give a tenant a new policy; workers follow within a second.",
    )
    add_command(
        app,
        "why",
        "screen.commands.why:why",
        "Say why a frame was kept, dropped or quarantined, and what it was held against.",
    )
    add_command(
        app,
        "what-if",
        "screen.commands.what_if:command",
        "Say what would have been kept under another policy. "
        "Without a change: whether today's verdicts come out again.",
    )
    add_command(
        app,
        "annotate",
        "screen.commands.annotate:annotate",
        "Write pictures with boxes, classes and scores, and detections.jsonl with all of them; "
        "1 if one cannot be read.",
    )
    add_command(
        app,
        "units",
        "screen.commands.units:units",
        "Show which units workers look at now and how far they are, and what the last ones cost.",
    )
    add_command(
        models,
        "add",
        "screen.commands.models:add_model",
        "Try a detector on pictures, as it will be served, and say what is wrong; 1 if something grave is.",
    )

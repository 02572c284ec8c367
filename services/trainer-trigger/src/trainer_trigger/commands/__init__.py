"""The commands of trainer-trigger, for admins, who have the database and S3. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

GROUPS = {
    "models": "Models: what serves, trials, the first version, offers.",
    "researchers": "Who may describe trainings.",
    "specs": "What to train, on what, and how good it must be.",
    "runs": "Training runs and offers.",
}
COMMANDS = {
    "models list": (
        "trainer_trigger.commands.models:list_models",
        "Show what serves now, what is tried on live frames, and what was refused. With --all every version.",
    ),
    "models seed": (
        "trainer_trigger.commands.models:seed_model",
        "Release a model's first version, without a gate.",
    ),
    "models offer": (
        "trainer_trigger.commands.models:offer_model",
        "Offer a ready model: it is measured beside what serves, and goes live only through the gate.",
    ),
    "models rollback": (
        "trainer_trigger.commands.models:rollback_model",
        "Let an older version serve again, at once, with its thresholds and pre-labels; or take back one on its way.",
    ),
    "researchers enrol": (
        "trainer_trigger.commands.researchers:enrol_researcher",
        "Make a token. It is shown this once; what is kept cannot be turned back into it.",
    ),
    "researchers revoke": (
        "trainer_trigger.commands.researchers:revoke_researcher",
        "End a token at once.",
    ),
    "researchers list": (
        "trainer_trigger.commands.researchers:list_researchers",
        "Show who was enrolled, and whose token is revoked.",
    ),
    "specs set": (
        "trainer_trigger.commands.trainings:set_spec",
        "Upload both sets and store the spec; it is checked as the HTTP interface checks it.",
    ),
    "runs list": (
        "trainer_trigger.commands.trainings:list_runs",
        "Show runs, the youngest first.",
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS, GROUPS)

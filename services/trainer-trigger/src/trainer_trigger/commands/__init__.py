"""The commands of trainer-trigger, for admins, who have the database and S3. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_command, add_group


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    models = add_group(app, "models", "Models: what serves, trials, the first version, offers.")
    researchers = add_group(app, "researchers", "Who may describe trainings.")
    specs = add_group(app, "specs", "What to train, on what, and how good it must be.")
    runs = add_group(app, "runs", "Training runs and offers.")
    add_command(
        models,
        "list",
        "trainer_trigger.commands.models:list_models",
        "Show what serves now, what is tried on live frames, and what was refused. With --all every version.",
    )
    add_command(
        models, "seed", "trainer_trigger.commands.models:seed_model", "Release a model's first version, without a gate."
    )
    add_command(
        models,
        "offer",
        "trainer_trigger.commands.models:offer_model",
        "Offer a ready model: it is measured beside what serves, and goes live only through the gate.",
    )
    add_command(
        models,
        "rollback",
        "trainer_trigger.commands.models:rollback_model",
        "Let an older version serve again, at once, with its thresholds and pre-labels; or take back one on its way.",
    )
    add_command(
        researchers,
        "enrol",
        "trainer_trigger.commands.researchers:enrol_researcher",
        "Make a token. It is shown this once; what is kept cannot be turned back into it.",
    )
    add_command(researchers, "revoke", "trainer_trigger.commands.researchers:revoke_researcher", "End a token at once.")
    add_command(
        researchers,
        "list",
        "trainer_trigger.commands.researchers:list_researchers",
        "Show who was enrolled, and whose token is revoked.",
    )
    add_command(
        specs,
        "set",
        "trainer_trigger.commands.trainings:set_spec",
        "Upload both sets and store the spec; it is checked as the HTTP interface checks it.",
    )
    add_command(runs, "list", "trainer_trigger.commands.trainings:list_runs", "Show runs, the youngest first.")

"""The commands of trainer-trigger, for admins, who have the database and S3."""

import typer

from roadloop_runtime.cli import group_of
from trainer_trigger.model_commands import list_models, offer_model, rollback_model, seed_model
from trainer_trigger.researcher_commands import enrol_researcher, list_researchers, revoke_researcher
from trainer_trigger.training_commands import list_runs, set_spec


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    models = group_of(app, "models")
    models.command("list")(list_models)
    models.command("seed")(seed_model)
    models.command("offer")(offer_model)
    models.command("rollback")(rollback_model)
    researchers = typer.Typer(help="Who may describe trainings.", no_args_is_help=True)
    researchers.command("enrol")(enrol_researcher)
    researchers.command("revoke")(revoke_researcher)
    researchers.command("list")(list_researchers)
    specs = typer.Typer(help="What to train, on what, and how good it must be.", no_args_is_help=True)
    specs.command("set")(set_spec)
    runs = typer.Typer(help="Training runs and offers.", no_args_is_help=True)
    runs.command("list")(list_runs)
    for name, group in (("researchers", researchers), ("specs", specs), ("runs", runs)):
        app.add_typer(group, name=name)

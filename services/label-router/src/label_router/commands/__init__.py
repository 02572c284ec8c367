"""The commands of label-router: annotators and queues. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_command, add_group


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    annotators = add_group(app, "annotators", "Who may label.")
    queues = add_group(app, "queues", "What tenants ask annotators for.")
    add_command(
        annotators,
        "enrol",
        "label_router.commands.annotators:enrol",
        "Let somebody label for a tenant; print the token, which is shown this once.",
    )
    add_command(
        annotators,
        "revoke",
        "label_router.commands.annotators:revoke",
        "Refuse an annotator's token from now on. What they labelled stays.",
    )
    add_command(
        annotators,
        "list",
        "label_router.commands.annotators:list_annotators",
        "List who may label, and who might once.",
    )
    add_command(
        queues,
        "set",
        "label_router.commands.annotators:set_queue",
        "Say which classes a tenant's annotators may use; this replaces what was set before.",
    )

"""The commands of label-router: annotators and queues. Each is imported when it is asked for."""

import typer

from roadloop_runtime.cli.root import add_commands

GROUPS = {
    "annotators": "Who may label.",
    "queues": "What tenants ask annotators for.",
}
COMMANDS = {
    "annotators enrol": (
        "label_router.commands.annotators:enrol",
        "Let somebody label for a tenant; print the token, which is shown this once.",
    ),
    "annotators revoke": (
        "label_router.commands.annotators:revoke",
        "Refuse an annotator's token from now on. What they labelled stays.",
    ),
    "annotators list": (
        "label_router.commands.annotators:list_annotators",
        "List who may label, and who might once.",
    ),
    "queues set": (
        "label_router.commands.annotators:set_queue",
        "Say which classes a tenant's annotators may use; this replaces what was set before.",
    ),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    add_commands(app, COMMANDS, GROUPS)

"""A detector in the model server's repository, as a release puts it there."""

from roadloop_local.addresses import Stack
from roadloop_schemas.models import DetectorCard
from screen.rollout import model_repository
from tests.builders import make_release


def publish(stack: Stack, model: str, card: DetectorCard, network: bytes) -> None:
    """Put version 1 of a model where the server loads from."""
    model_repository.publish(stack.model_repository, make_release(1, model=model, card=card), network)

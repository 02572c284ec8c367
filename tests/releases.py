"""A detector in the model server's repository, as a release puts it there."""

from datetime import UTC, datetime

from roadloop_local.addresses import Stack
from roadloop_schemas.fields import ObjectRef
from roadloop_schemas.models import DetectorCard, ModelReleased
from screen.rollout import model_repository


def publish(stack: Stack, model: str, card: DetectorCard, network: bytes) -> None:
    """Put version 1 of a model where the server loads from."""
    release = ModelReleased(
        release_id=f"r-{model}",
        model=model,
        version=1,
        weights=ObjectRef(uri="s3://models/t/model.onnx", sha256="0" * 64, size_bytes=1),
        card=card,
        released_at=datetime(2026, 3, 2, tzinfo=UTC),
    )
    model_repository.publish(stack.model_repository, release, network)

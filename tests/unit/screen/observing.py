"""Observe a unit as a worker does whom nobody watches."""

from collections.abc import Callable

from roadloop_runtime.decode import Received
from roadloop_schemas.frames import FramesIngested
from roadloop_schemas.models import ModelServing
from screen.handle import Observation, observe
from screen.inference.predict import ModelClient
from screen.progress import Progress


async def look_at(
    unit: Received[FramesIngested], *, serving: Callable[[str], ModelServing | None], model_client: ModelClient
) -> Observation:
    return await observe(unit, serving=serving, model_client=model_client, progress=Progress())

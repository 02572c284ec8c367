"""Settings of screening's processes."""

from pathlib import Path

from pydantic import Field

from roadloop_runtime.settings import ObjectSettings


class Settings(ObjectSettings):
    """Of the worker. `observing` units are looked at together, each with up to 64 frames one after another."""

    triton_grpc: str
    observing: int = Field(default=8, ge=1, le=256)
    units_in_flight: int = Field(default=32, ge=1, le=4096)


class RolloutSettings(Settings):
    """Of the rollout process: it alone may write the model repository."""

    model_repository: Path

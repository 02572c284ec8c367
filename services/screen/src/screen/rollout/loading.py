"""The hand on the model server: it puts a version into the repository, loads it, and asks it a real question."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

from roadloop_runtime.outcome import Transient
from roadloop_runtime.storage.objects import ObjectChanged, ObjectMissing, ObjectRefused
from roadloop_schemas.models import ModelReleased
from screen.inference.predict import Fetch, RefusedByModel
from screen.inference.triton import NotLoadable, Triton
from screen.rollout import model_repository
from screen.rollout.model_repository import Instances

NOT_LOADABLE = (NotLoadable, RefusedByModel, ObjectMissing, ObjectChanged, ObjectRefused, ValueError)


class Loading:
    """Only the rollout process has one."""

    def __init__(self, fetch: Fetch, triton: Triton, folder: Path, instances: Instances) -> None:
        self._fetch = fetch
        self._triton = triton
        self._folder = folder
        self._instances = instances
        self._epoch = 0

    async def answers(self, model: str, version: int) -> bool:
        """Say whether a version answers a real question."""
        try:
            await self._triton.ask_canary(model, version)
        except (Transient, RefusedByModel):
            return False
        return True

    async def load(self, release: ModelReleased, version: int, beside: Iterable[int]) -> None:
        """Load a version of a release's model, and leave those `beside` it loaded; then ask it a real question.

        Raises Transient where the server is away, one of NOT_LOADABLE where it never will load.
        """
        if version == release.version and not model_repository.holds(self._folder, release.model, version):
            weights = await self._fetch(release.weights)
            await asyncio.to_thread(model_repository.publish, self._folder, release, weights)
        if not await self._triton.is_live():
            raise Transient("triton", "the model server is not live")
        self._epoch += 1
        versions = sorted({version, *beside})
        available = [number for number in versions if model_repository.holds(self._folder, release.model, number)]
        config = model_repository.make_config(release.model, available, self._epoch, self._instances)
        await self._triton.load(release.model, json.dumps(config))
        await self._triton.ask_canary(release.model, version)

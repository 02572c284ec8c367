"""A fleet's drives, rendered ahead of their upload."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from roadloop_agent import Picture
from roadloop_world.actors import fleet
from roadloop_world.rendering.datasets import DrivePlan

RENDERED_AHEAD = 3


class TakenDrive(NamedTuple):
    """One drive, as its vehicle has it before it uploads."""

    plan: DrivePlan
    vehicle: fleet.Vehicle
    pictures: list[Picture]


class PlannedDrives:
    """Drives in their order, each by the next vehicle; a few are rendered while others are uploaded."""

    def __init__(self, plans: Sequence[DrivePlan], frames: int) -> None:
        self.left = len(plans)
        self._plans = plans
        self._frames = frames
        self._rendered: asyncio.Queue[TakenDrive] = asyncio.Queue(RENDERED_AHEAD)

    async def render(self, vehicles: Sequence[fleet.Vehicle], truth: fleet.Truth) -> None:
        """Render all drives, never many more than were taken."""
        for number, plan in enumerate(self._plans):
            vehicle = vehicles[number % len(vehicles)]
            pictures = await asyncio.to_thread(fleet.take_pictures, vehicle, plan, self._frames, truth)
            await self._rendered.put(TakenDrive(plan, vehicle, pictures))

    async def take(self) -> TakenDrive:
        """Return the next drive. There must be one left."""
        self.left -= 1
        return await self._rendered.get()

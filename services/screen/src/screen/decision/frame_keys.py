"""Where a frame belongs, and by which network's eye it is looked at."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from roadloop_schemas.fields import Condition
from roadloop_schemas.frames import ModelPair


class RateKeys(NamedTuple):
    """Of a slice's keep rate, and of its tenant's as a whole."""

    slice: str
    tenant: str


@dataclass(frozen=True)
class FrameKeys:
    """Where a frame belongs: `eye` names the network whose embeddings it is compared by.

    `versions` are those of its tenant's model whose thresholds are remembered: first the one that scores the frame,
    then those that stand in for it while it is new.
    """

    tenant: str
    vehicle: str
    camera: str
    condition: Condition
    drive: str = ""
    eye: str = ""
    versions: tuple[int, ...] = (0,)

    @cached_property
    def slice_key(self) -> str:
        return f"{self.tenant}/{self.condition}/{self.camera}"

    @cached_property
    def camera_key(self) -> str:
        return f"{self.tenant}/{self.vehicle}/{self.camera}"

    @cached_property
    def rate_keys(self) -> tuple[RateKeys, ...]:
        """The keys of its keep rates, for each of `versions`."""
        names = (self.slice_key, f"{self.tenant}/*")
        return tuple(RateKeys(*(rate_key(name, version) for name in names)) for version in self.versions)


def rate_key(key: str, version: int) -> str:
    """Return the key of a keep rate: each version of a model has its own, since scores of two are no alike."""
    return f"{key}@{version}"


def eye_of(pair: ModelPair) -> str:
    """Name the network whose embeddings pictures are compared by: the second model, for it stays while others come."""
    if pair.second_name is None:
        return f"{pair.name}/{pair.version}"
    return f"{pair.second_name}/{pair.second_version}"

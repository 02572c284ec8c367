"""What screening remembers of one partition: counters and keep rates per slice, and what was kept last per camera.

A frozen value; `memory/entries.py` writes what changed of it with the batch that changed it, and reads it back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import immutables

from roadloop_schemas.frames import Verdict
from roadloop_schemas.policies import KeepRule, ScreenPolicy
from screen.memory import embedding_statistics, kept_scenes, repeat_discount, running_median
from screen.memory.embedding_statistics import NOTHING_SCENIC, Scenery
from screen.memory.keep_rate import ENOUGH, ENOUGH_OF_TENANT, NOTHING_KNOWN, KeepRate, add_frame, restart_on_scale
from screen.memory.keep_rules import add_frame as add_frame_to_rules
from screen.memory.kept_scenes import NOTHING_KEPT, KeptScenes
from screen.memory.repeat_discount import Echo
from screen.memory.sharpness import NOTHING_USUAL, Sharpness, add_picture
from screen.vision.embedding import Vector

KEPT_PER_CAMERA = 16
KEPT, DROPPED, QUARANTINED = Verdict.KEPT, Verdict.DROPPED, Verdict.QUARANTINED  # a call each, in Python 3.11


class Counters(NamedTuple):
    """How many frames of a slice came, and what became of them."""

    seen: int = 0
    kept: int = 0
    dropped: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A kept frame of a camera: its 64-bit difference hash in hex, its embedding, and what it may show.

    `objects` is how many of each class, `embedding` is packed, `brightness` 0..1; None of a frame from before it was
    looked at.
    """

    dhash: str
    objects: tuple[tuple[str, int], ...] = ()
    embedding: bytes = b""
    brightness: float | None = None


NOTHING_SEEN = Counters()


class Memory(NamedTuple):
    """Counters, keep rates, kept scenes by tenant/condition/camera; kept frames, sharpness by tenant/vehicle/camera.

    Each version of a tenant's model has keep rates of its own, under slice@version; `versions` are those that count.
    The keep rate of a tenant as a whole is under tenant/*: it stands in for slices that are too young. What rules may
    still keep is by tenant; what pictures usually look like, by tenant and by slice. `latest` is a camera's last
    embedding, `strides` how far pictures of a slice usually are from the one before (`measure_step`).
    A tuple, for every frame changes several of these, and replacing a field of a frozen dataclass takes far longer.
    The first five change with every frame, and are asked for by field: `judge` makes them all anew at once.
    """

    slices: immutables.Map[str, Counters] = immutables.Map()
    sharpness: immutables.Map[str, Sharpness] = immutables.Map()
    echoes: immutables.Map[str, Echo] = immutables.Map()
    allowances: immutables.Map[str, Mapping[str, float]] = immutables.Map()
    rates: immutables.Map[str, KeepRate] = immutables.Map()
    kept: immutables.Map[str, tuple[KeptFrame, ...]] = immutables.Map()
    scenery: immutables.Map[str, Scenery] = immutables.Map()
    kept_scenes: immutables.Map[str, KeptScenes] = immutables.Map()
    latest: immutables.Map[str, bytes] = immutables.Map()
    strides: immutables.Map[str, float] = immutables.Map()
    versions: immutables.Map[str, frozenset[int]] = immutables.Map()

    def update_counters(self, slice_key: str, verdict: Verdict) -> immutables.Map[str, Counters]:
        """Return the counters after one more frame of a slice."""
        seen, kept, dropped, quarantined = self.slices.get(slice_key, NOTHING_SEEN)
        counters = Counters(
            seen + 1,
            kept + (verdict is KEPT),
            dropped + (verdict is DROPPED),
            quarantined + (verdict is QUARANTINED),
        )
        return self.slices.set(slice_key, counters)

    def with_frame(
        self,
        slices: immutables.Map[str, Counters],
        sharpness: immutables.Map[str, Sharpness],
        echoes: immutables.Map[str, Echo],
        allowances: immutables.Map[str, Mapping[str, float]],
        rates: immutables.Map[str, KeepRate],
    ) -> "Memory":
        """Return the memory with what one more frame has changed; `_replace` would take three times as long."""
        return Memory(slices, sharpness, echoes, allowances, rates, *self[5:])

    def forget_other_versions(self, tenant: str, versions: Iterable[int]) -> "Memory":
        """Return the memory without the keep rates of a tenant's other versions: they will not come back."""
        versions_in_use = frozenset(versions)
        if self.versions.get(tenant) == versions_in_use:
            return self
        rates, names = self.rates, {str(version) for version in versions_in_use}
        for key in self.rates:
            if key.startswith(f"{tenant}/") and key.rpartition("@")[2] not in names:
                rates = rates.delete(key)
        return self._replace(rates=rates, versions=self.versions.set(tenant, versions_in_use))

    def rate(self, key: str, scale: str) -> KeepRate:
        """Return a keep rate for scores of that scale."""
        rate = self.rates.get(key, NOTHING_KNOWN)
        return rate if rate.scale == scale else restart_on_scale(rate, scale)

    def update_rates(
        self, budgets: Mapping[str, float], ranked: float | None, kept: bool | None, *, policy: ScreenPolicy, scale: str
    ) -> immutables.Map[str, KeepRate]:
        """Return the keep rates after the controllers that have these budgets have seen one more frame.

        `ranked` is None where the score had nothing to decide, `kept` where the frame was only looked at.
        """
        rates, allowed = self.rates, (policy.slice_range or (0.0, 1.0)) if policy.shared else None
        for key, budget in budgets.items():
            is_whole = "/*@" in key
            rate = add_frame(
                self.rate(key, scale),
                ranked,
                kept,
                budget=budget,
                audit_share=policy.audit_share,
                enough=ENOUGH_OF_TENANT if is_whole else ENOUGH,
                allowed=allowed,
                alarmed=not (allowed and is_whole),
            )
            rates = rates.set(key, rate)
        return rates

    def update_sharpness(
        self, camera_key: str, laplacian_variance: float, blur_ratio: float
    ) -> immutables.Map[str, Sharpness]:
        """Return how sharp pictures are after one more of a camera; where no policy asks for that, as it was."""
        if not blur_ratio:
            return self.sharpness
        usual = self.sharpness.get(camera_key, NOTHING_USUAL)
        return self.sharpness.set(camera_key, add_picture(usual, laplacian_variance, ratio=blur_ratio))

    def update_allowances(
        self, tenant: str, rules: Sequence[KeepRule], kept_by: Sequence[str]
    ) -> immutables.Map[str, Mapping[str, float]]:
        """Return the allowances after one more frame of a tenant, with the rules that kept it; they are few."""
        if not rules:
            return self.allowances
        return self.allowances.set(tenant, add_frame_to_rules(rules, kept_by, self.allowances.get(tenant, {})))

    def add_embedding(self, tenant: str, slice_key: str, eye: str, packed: bytes) -> "Memory":
        """Return the memory after one more picture, as its embedding; without one, as it is.

        What is usual for a tenant is held to its first pictures: it would learn the night as usual.
        """
        if not packed:
            return self
        of_tenant = self.scenery.get(tenant, NOTHING_SCENIC)
        scenery = self.scenery.set(tenant, embedding_statistics.add_picture(of_tenant, eye, packed, anchored=True))
        of_slice = embedding_statistics.add_picture(self.scenery.get(slice_key, NOTHING_SCENIC), eye, packed)
        return self._replace(scenery=scenery.set(slice_key, of_slice))

    def add_camera_embedding(self, camera_key: str, slice_key: str, packed: bytes, step: float | None) -> "Memory":
        """Return the memory after one more picture of a camera, a `step` from its last one where that is known."""
        if not packed:
            return self
        memory = self._replace(latest=self.latest.set(camera_key, packed))
        if not step:
            return memory
        stride = running_median.move(self.strides.get(slice_key, 0.0), step)
        return memory._replace(strides=self.strides.set(slice_key, stride))

    def update_echoes(self, camera_key: str, drive: str, chance: float) -> immutables.Map[str, Echo]:
        """Return the echoes after one more frame of a camera's drive: the chance that it is hard, 0 where it went."""
        return self.echoes.set(camera_key, repeat_discount.add_frame(self.echoes.get(camera_key), drive, chance))

    def echo(self, camera_key: str, drive: str) -> float:
        """Return how many hard frames of a camera's drive were kept a short while ago, each faded by its age."""
        return repeat_discount.value_in(self.echoes.get(camera_key), drive)

    def add_kept_scene(self, slice_key: str, eye: str, scene: Vector | None) -> "Memory":
        """Return the memory after a scene was kept; None where it could not be told from the usual."""
        if scene is None:
            return self
        of_slice = kept_scenes.add(self.kept_scenes.get(slice_key, NOTHING_KEPT), eye, scene)
        return self._replace(kept_scenes=self.kept_scenes.set(slice_key, of_slice))

    def add_kept_frame(self, camera_key: str, frame: KeptFrame) -> "Memory":
        """Return the memory after a frame was kept."""
        newest = (*self.kept.get(camera_key, ()), frame)[-KEPT_PER_CAMERA:]
        return self._replace(kept=self.kept.set(camera_key, newest))

    def light_change(self, camera_key: str, brightness: float) -> float | None:
        """Return by how much a picture's brightness differs from that of its camera's last kept frame, 0..1."""
        kept_frames = self.kept.get(camera_key)
        last_brightness = kept_frames[-1].brightness if kept_frames else None
        return None if last_brightness is None else round(abs(brightness - last_brightness), 6)

    def nearest_kept(self, camera_key: str, dhash: str) -> tuple[int, KeptFrame] | None:
        """Return a camera's most similar kept frame with its Hamming distance in bits of 64; of equals the newest."""
        bits = int(dhash, 16)
        newest_first = reversed(self.kept.get(camera_key, ()))
        distances = (((int(frame.dhash, 16) ^ bits).bit_count(), frame) for frame in newest_first)
        return min(distances, key=lambda pair: pair[0], default=None)

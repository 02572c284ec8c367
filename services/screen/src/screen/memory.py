"""What screening remembers of one partition: counters and keep rates per slice, and what was kept last per camera.

A frozen value; `memory_entries.py` writes what changed of it with the batch that changed it, and reads it back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import immutables

from roadloop_schemas.frames import KeepRule, SliceCounters, Verdict
from screen.keep_rate import NOTHING_KNOWN, KeepRate, after_frame, after_score
from screen.rules import after_frame as rules_after_frame
from screen.sharpness import NOTHING_USUAL, Sharpness, after

KEPT_PER_CAMERA = 16
NOTHING_SEEN = SliceCounters(seen=0, kept=0, dropped=0, quarantined=0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Counters and keep rates by tenant/condition/camera; the rest by tenant/vehicle/camera.

    That is the difference hashes of the last kept frames, and how sharp pictures usually are. The keep rate of a tenant
    as a whole is under tenant/*: it stands in for slices that are too young. What rules may still keep is by tenant.
    """

    slices: immutables.Map[str, SliceCounters] = field(default_factory=immutables.Map)
    kept: immutables.Map[str, tuple[str, ...]] = field(default_factory=immutables.Map)
    rates: immutables.Map[str, KeepRate] = field(default_factory=immutables.Map)
    sharpness: immutables.Map[str, Sharpness] = field(default_factory=immutables.Map)
    allowances: immutables.Map[str, Mapping[str, float]] = field(default_factory=immutables.Map)

    def count(self, slice_key: str, verdict: Verdict) -> "Memory":
        """Return the memory after one more frame of a slice."""
        before = self.slices.get(slice_key, NOTHING_SEEN)
        after = SliceCounters(
            seen=before.seen + 1,
            kept=before.kept + (verdict is Verdict.KEPT),
            dropped=before.dropped + (verdict is Verdict.DROPPED),
            quarantined=before.quarantined + (verdict is Verdict.QUARANTINED),
        )
        return replace(self, slices=self.slices.set(slice_key, after))

    def control(self, key: str, ranked: float | None, kept: bool, *, budget: float, audit_share: float) -> "Memory":
        """Return the memory after a slice's controller has seen one more frame; `ranked` is None where none was."""
        rate = self.rates.get(key, NOTHING_KNOWN)
        if ranked is not None:
            rate = after_score(rate, ranked, budget=budget, audit_share=audit_share)
        rate = after_frame(rate, kept, budget=budget, audit_share=audit_share)
        return replace(self, rates=self.rates.set(key, rate))

    def threshold(self, *keys: str) -> float | None:
        """Return the threshold of the first of these slices that has one."""
        thresholds = (self.rates.get(key, NOTHING_KNOWN).threshold for key in keys)
        return next((threshold for threshold in thresholds if threshold is not None), None)

    def see(self, camera_key: str, laplacian_variance: float, blur_ratio: float) -> "Memory":
        """Return the memory after one more picture of a camera; where no policy asks how sharp they are, as it is."""
        if not blur_ratio:
            return self
        usual = self.sharpness.get(camera_key, NOTHING_USUAL)
        seen = after(usual, laplacian_variance, ratio=blur_ratio)
        return replace(self, sharpness=self.sharpness.set(camera_key, seen))

    def allow(self, tenant: str, rules: Sequence[KeepRule], kept_by: Sequence[str]) -> "Memory":
        """Return the memory after one more frame of a tenant, with the rules that kept it; they are few."""
        if not rules:
            return self
        allowances = rules_after_frame(rules, kept_by, self.allowances.get(tenant, {}))
        return replace(self, allowances=self.allowances.set(tenant, allowances))

    def keep(self, camera_key: str, dhash: str) -> "Memory":
        """Return the memory after a frame was kept."""
        newest = (*self.kept.get(camera_key, ()), dhash)[-KEPT_PER_CAMERA:]
        return replace(self, kept=self.kept.set(camera_key, newest))

    def nearest_kept(self, camera_key: str, dhash: str) -> int | None:
        """Return the Hamming distance to the most similar kept frame of a camera, in bits of 64."""
        mine = int(dhash, 16)
        return min(((int(other, 16) ^ mine).bit_count() for other in self.kept.get(camera_key, ())), default=None)

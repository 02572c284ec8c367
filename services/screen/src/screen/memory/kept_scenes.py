"""The last kept scenes of a slice, as whitened unit vectors: how near is a new one to what was kept before? Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from screen.vision.embedding import Vector

PLACES = 512
BLOCK_SCENES = 128
BLOCKS = PLACES // BLOCK_SCENES


@dataclass(frozen=True, slots=True)
class SceneBlock:
    """Up to 128 scenes of D dimensions; `number` is that of its first one. `raw` is float32 [N, D]."""

    number: int
    dimensions: int
    raw: bytes

    @property
    def scenes(self) -> NDArray[np.float32]:
        return np.frombuffer(self.raw, "<f4").reshape(-1, self.dimensions)

    def __len__(self) -> int:
        return len(self.raw) // (4 * self.dimensions)


@dataclass(frozen=True, slots=True)
class KeptScenes:
    """The last 512 kept scenes, as one network (`eye`) saw them; scenes are numbered from 0 for ever."""

    eye: str = ""
    blocks: tuple[SceneBlock, ...] = ()

    @property
    def next_number(self) -> int:
        return self.blocks[-1].number + len(self.blocks[-1]) if self.blocks else 0

    def since(self, number: int) -> Iterator[tuple[SceneBlock, int, Vector]]:
        """Return the scenes from a number on, each with its block and its number."""
        for block in self.blocks:
            scenes = block.scenes
            for place in range(max(0, number - block.number), len(block)):
                yield block, block.number + place, scenes[place]


NOTHING_KEPT = KeptScenes()


def find_nearest_cosine(kept_scenes: KeptScenes, eye: str, scene: Vector) -> float | None:
    """Return the largest cosine to a kept scene, -1..1; None where there is none that this network saw."""
    if not _is_comparable(kept_scenes, eye, scene):
        return None
    best = max(float((block.scenes @ scene).max()) for block in kept_scenes.blocks)
    return round(min(1.0, max(-1.0, best)), 4)


def add(kept_scenes: KeptScenes, eye: str, scene: Vector) -> KeptScenes:
    """Return the kept scenes with one more; the oldest go, and all of them where another network looks now."""
    blocks = kept_scenes.blocks if _is_comparable(kept_scenes, eye, scene) else ()
    raw = scene.astype("<f4").tobytes()
    if not blocks or len(blocks[-1]) == BLOCK_SCENES:
        return KeptScenes(eye, (*blocks, SceneBlock(kept_scenes.next_number, len(scene), raw))[-BLOCKS - 1 :])
    newest = blocks[-1]
    return KeptScenes(eye, (*blocks[:-1], replace(newest, raw=newest.raw + raw)))


def _is_comparable(kept_scenes: KeptScenes, eye: str, scene: Vector) -> bool:
    return kept_scenes.eye == eye and bool(kept_scenes.blocks) and kept_scenes.blocks[-1].dimensions == len(scene)

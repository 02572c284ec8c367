"""What empty roads look like, by what the audit has shown to be empty. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roadloop_schemas.policies import EmptyScenes
from screen.learn.labelled_audit import LabelledFrame
from screen.vision.embedding import from_text, unpack

EMPTIES = 64
EMPTIES_LOOKED_AT = 1_000
NEW_EMPTIES = 8


def has_news(scenes: EmptyScenes, known_scenes: EmptyScenes | None) -> bool:
    """Say whether enough is new to be worth a version of the policy."""
    if known_scenes is None or known_scenes.eye != scenes.eye:
        return True
    return len(set(scenes.scenes) - set(known_scenes.scenes)) >= NEW_EMPTIES


def choose_empty_scenes(labelled_frames: Sequence[LabelledFrame]) -> EmptyScenes | None:
    """Return up to 64 embeddings of frames in which people saw nothing, as unlike each other as can be.

    The newest one comes first, then always the one that is farthest from those chosen (Gonzalez, 1985). They are of
    the network that looked at the newest one: what networks make cannot be compared.
    """
    empty = [labelled for labelled in labelled_frames if not labelled.labels and labelled.frame.embedding]
    newest_first = sorted(empty, key=lambda labelled: (labelled.at, labelled.frame.frame_id), reverse=True)
    newest = newest_first[:EMPTIES_LOOKED_AT]
    if not newest:
        return None
    eye = newest[0].frame.eye
    texts = [labelled.frame.embedding for labelled in newest if labelled.frame.eye == eye]
    chosen = _choose_farthest(np.stack([unpack(from_text(text)) for text in texts]))
    return EmptyScenes(eye=eye, scenes=tuple(texts[place] for place in chosen))


def _choose_farthest(vectors: NDArray[np.float32]) -> list[int]:
    """Return the rows of [N, D] that are chosen, the first one first."""
    spread = vectors.std(0)
    standard = (vectors - vectors.mean(0)) / np.where(spread > 0, spread, 1)
    chosen, distance = [0], np.linalg.norm(standard - standard[0], axis=1)
    while len(chosen) < EMPTIES and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(standard - standard[chosen[-1]], axis=1))
    return chosen

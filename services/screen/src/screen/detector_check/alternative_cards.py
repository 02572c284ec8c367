"""Would another card have it surer? A look at what a card may have wrong without any number being wrong."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from screen.detector_check.finding import Finding
from screen.serving.card import Card


@dataclass(frozen=True, slots=True)
class Doubt:
    """Another card, what is different in it, and from how much more sureness on how many pictures it is believed."""

    other: Card
    field: str
    times: float
    pictures: int  # fewer cannot tell


def raise_doubts(card: Card) -> Iterator[Doubt]:
    """Return what could be another way.

    NanoDet on 18 street pictures is 1.06 times as sure of the right order of colours, on 14 of them; a detector that
    does not care is surer of the wrong one on up to 11. A wrong scale makes it 20 times less sure.
    """
    yield Doubt(replace(card, colours="bgr" if card.colours == "rgb" else "rgb"), "colours", 1.05, 8)
    if card.dtype != "uint8":
        yield Doubt(replace(card, scale=1.0 if card.scale < 0.1 else 1 / 255), "scale", 1.5, 1)


def suspect(doubt: Doubt, card: Card, as_is: Sequence[float], otherwise: Sequence[float]) -> Finding | None:
    """Say so where the other value makes the network surer, on three quarters of the pictures."""
    own, other = np.array(as_is), np.array(otherwise)
    if len(own) < doubt.pictures or other.sum() <= doubt.times * own.sum() or (other > own).mean() < 0.75:
        return None
    value = json.dumps(getattr(doubt.other, doubt.field))
    return Finding(
        f"with {doubt.field} {value} instead of {getattr(card, doubt.field)} the network is surer on "
        f"{int((other > own).sum())} of {len(own)} pictures, {other.sum() / max(own.sum(), 1e-9):.2f} times in all",
        f'if that is how it was trained, set "{doubt.field}": {value}',
        grave=False,
    )

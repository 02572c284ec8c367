"""What of a network's answer to one picture tells whether the detector is set up right."""

from dataclasses import dataclass

import numpy as np

from screen.serving.answer import Answer, DetectorResult, Floats, compute_probabilities, read_answer, split
from screen.serving.canvas import Prepared
from screen.serving.card import Card

SUREST = 20


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One picture's answer, in short, so that any number of pictures can be tried."""

    broken: tuple[str, ...]  # outputs that have a number that is none
    lowest: float  # of the scores, as the network gives them
    highest: float
    sums_to_one: bool  # each row of them
    surest: float  # the probabilities of the surest boxes together
    best: float  # the best probability
    least: float  # the least
    boxes: Floats  # [N <= 20, 4] the surest, as the network gives them
    found: DetectorResult


def see(answer: Answer, card: Card, prepared: Prepared) -> Seen:
    """Sum an answer up. Raises WrongAnswer where network and card disagree on shapes."""
    said = split(answer, card)
    chances = compute_probabilities(said, card)
    each = np.nan_to_num(chances.max(1))
    rows = np.argsort(-each, kind="stable")[:SUREST]
    over = rows[each[rows] >= card.score_floor]
    return Seen(
        broken=tuple(role for role in card.outputs if not np.isfinite(answer[role]).all()),
        lowest=float(said.scores.min(initial=np.inf)),
        highest=float(said.scores.max(initial=-np.inf)),
        sums_to_one=bool(np.allclose(said.scores.sum(1), 1, atol=0.01)),
        surest=float(each[rows[:5]].sum()),
        best=float(each.max(initial=0)),
        least=float(chances.min(initial=1)),
        boxes=said.boxes[over if len(over) else rows],
        found=read_answer(answer, card, prepared.fit, prepared.layout),
    )

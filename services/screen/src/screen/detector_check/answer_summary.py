"""What of a network's answer to one picture tells whether the detector is set up right."""

from dataclasses import dataclass

import numpy as np

from screen.serving.answer import Answer, DetectorResult, Floats, compute_probabilities, read_answer, split
from screen.serving.canvas import Prepared
from screen.serving.card import Card

SUREST = 20


@dataclass(frozen=True, slots=True, eq=False)
class AnswerSummary:
    """One picture's answer, in short, so that any number of pictures can be tried."""

    broken: tuple[str, ...]  # outputs that have a number that is none
    lowest: float  # of the scores, as the network gives them
    highest: float
    sums_to_one: bool  # each row of them
    surest: float  # the probabilities of the surest boxes together
    best: float  # the best probability
    least: float  # the least
    boxes: Floats  # [N <= 20, 4] the surest, as the network gives them
    result: DetectorResult


def summarise_answer(answer: Answer, card: Card, prepared: Prepared) -> AnswerSummary:
    """Sum an answer up. Raises WrongAnswer where network and card disagree on shapes."""
    raw_boxes = split(answer, card)
    chances = compute_probabilities(raw_boxes, card)
    best_chances = np.nan_to_num(chances.max(1))
    rows = np.argsort(-best_chances, kind="stable")[:SUREST]
    above_floor = rows[best_chances[rows] >= card.score_floor]
    return AnswerSummary(
        broken=tuple(role for role in card.outputs if not np.isfinite(answer[role]).all()),
        lowest=float(raw_boxes.scores.min(initial=np.inf)),
        highest=float(raw_boxes.scores.max(initial=-np.inf)),
        sums_to_one=bool(np.allclose(raw_boxes.scores.sum(1), 1, atol=0.01)),
        surest=float(best_chances[rows[:5]].sum()),
        best=float(best_chances.max(initial=0)),
        least=float(chances.min(initial=1)),
        boxes=raw_boxes.boxes[above_floor if len(above_floor) else rows],
        result=read_answer(answer, card, prepared.fit, prepared.layout),
    )

"""Keep the share of a slice that its budget allows: the threshold is a quantile of the slice's last scores. Pure.

The threshold is the (1 - q) quantile of the last 1,500 scores of frames that the score decides on; q is the share of
these that the budget leaves after the audit. What was kept too little or too much is a debt that moves q a little, so
that the day's total comes out; a rate that is far off raises an alarm, and all but the newest scores are forgotten.
Holding a short window's rate tighter than this would cost the best frames: they come in clusters.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RING = 1_500
SEGMENT = 50
SEGMENTS = RING // SEGMENT + 1  # the newest is being filled
EVERY = 25
ENOUGH = 200
ENOUGH_OF_TENANT = 50  # noisy, but what stands in for it is a guess, or another version's
DEBT_AT_MOST = 200.0
DEBT_OVER = 500.0
MOVES_AT_LEAST = 0.002
WATCHED = 150
ALARM = 0.12
REMEMBERED_AFTER_ALARM = WATCHED // SEGMENT
LOT = 1e-7


class Segment(NamedTuple):
    """Up to 50 scores in the order they came; `received` frames of the slice came meanwhile, scored or not.

    It and the keep rate are made anew for every frame, by their fields: `_replace` takes two to three times as long.
    """

    number: int
    received: int = 0
    scores: tuple[float, ...] = ()


class KeepRate(NamedTuple):
    """What a slice's controller remembers.

    `debt`: frames that the budget allowed and that were not kept. `recent`: of the last 150 frames, "1" for a kept one.
    `threshold` is None until there are 200 scores, 50 of a tenant as a whole. `scale` names what the scores were made
    by. `reach` are the scores that the largest and the least share allowed to a slice reach, where it shares its
    tenant's threshold.
    """

    segments: tuple[Segment, ...] = (Segment(0),)
    debt: float = 0.0
    threshold: float | None = None
    recent: str = ""
    scale: str = ""
    reach: tuple[float, float] | None = None

    @property
    def scores(self) -> list[float]:
        """Return the last 1,500 scores, oldest first."""
        return list(chain.from_iterable(segment.scores for segment in self.segments))[-RING:]

    @property
    def size(self) -> int:
        """Return how many scores there are."""
        return min(RING, sum(len(segment.scores) for segment in self.segments))

    @property
    def share(self) -> float:
        """Return the share of received frames that the score decided on; 1 before any came."""
        received = sum(segment.received for segment in self.segments)
        return sum(len(segment.scores) for segment in self.segments) / received if received else 1.0


NOTHING_KNOWN = KeepRate()


def rank(score: float, frame_id: str) -> float:
    """Return a score with the frame's lot behind its last digit, 0..1: so equal scores are not all kept, or none.

    Scores have six digits, and the lot comes from the frame's id: a replay decides the same.
    """
    lot = int.from_bytes(blake2b(b"tie/" + frame_id.encode(), digest_size=7).digest(), "big") / 2**56
    return score * (1 - LOT) + lot * LOT


def on_scale(state: KeepRate, scale: str) -> KeepRate:
    """Return the state for scores of that scale: those of another one say nothing, what is owed stays owed."""
    if state.scale == scale:
        return state
    empty = (Segment(state.segments[-1].number + 1),)
    return state._replace(segments=empty, threshold=None, scale=scale, reach=None)


def wanted_share(state: KeepRate, budget: float, audit_share: float) -> float:
    """Return q, the share of the scored frames to keep, 0..1: what the budget leaves after the audit, and the debt.

    The debt moves it to between half and twice of what it would be.
    """
    left = _share_of_scored(state, budget, audit_share)
    return min(1.0, max(left / 2, min(2 * left, left + state.debt / DEBT_OVER)))


def _share_of_scored(state: KeepRate, budget: float, audit_share: float) -> float:
    """Return what share of the scored frames a budget of all frames leaves after the audit; may be over 1."""
    return max(0.0, budget - audit_share) / max(1e-9, (1 - audit_share) * state.share)


def after_score(state: KeepRate, score: float, *, budget: float, audit_share: float, enough: int = ENOUGH) -> KeepRate:
    """Return the state after the score of one more frame; every 25 scores the threshold is looked at again.

    There is one from `enough` scores on.
    """
    number, received, scores = state.segments[-1]
    segments = (*state.segments[:-1], Segment(number, received, (*scores, score)))
    count = len(scores) + 1
    if count == SEGMENT:
        segments = (*segments, Segment(number + 1))[-SEGMENTS:]
    state = KeepRate(segments, *state[1:])
    return _look_again(state, budget, audit_share, enough) if count % EVERY == 0 else state


def reaching(state: KeepRate, allowed: tuple[float, float], audit_share: float) -> KeepRate:
    """Return the state with the scores that the largest and the least allowed share of a slice's frames reach.

    They are looked at every 25 scores, from 200 on.
    """
    count = len(state.segments[-1].scores)
    if count % EVERY or state.size < ENOUGH:
        return state
    least, most = (_share_of_scored(state, share, audit_share) for share in allowed)
    scores = np.asarray(state.scores)
    return state._replace(reach=(quantile(scores, min(1.0, most)), quantile(scores, min(1.0, least))))


def after_frame(
    state: KeepRate, kept: bool | None, *, budget: float, audit_share: float, alarmed: bool = True
) -> KeepRate:
    """Return the state after one more frame, whatever became of it and why.

    What was only looked at is neither `kept` nor dropped (None): nothing is owed for it. A whole tenant is not
    `alarmed`: its frames come from one road after another, and a night is no change of regime.
    """
    number, received, scores = state.segments[-1]
    segments = (*state.segments[:-1], Segment(number, received + 1, scores))
    if kept is None:
        return state._replace(segments=segments)
    debt = round(min(DEBT_AT_MOST, max(-DEBT_AT_MOST, state.debt + budget - kept)), 6)
    recent = (state.recent + "01"[kept])[-WATCHED:]
    state = KeepRate(segments, debt, state.threshold, recent, state.scale, state.reach)
    if alarmed and len(recent) == WATCHED and abs(recent.count("1") / WATCHED - budget) > ALARM:
        forgetful = state._replace(segments=segments[-REMEMBERED_AFTER_ALARM - 1 :], recent="")
        return _look_again(forgetful, budget, audit_share)
    return state


def _look_again(state: KeepRate, budget: float, audit_share: float, enough: int = ENOUGH) -> KeepRate:
    """Move the threshold where that changes the rate by more than 0.2 points."""
    if state.threshold is None and state.size < enough:
        return state
    scores = np.asarray(state.scores)
    share = wanted_share(state, budget, audit_share)
    now = None if state.threshold is None else np.count_nonzero(scores >= state.threshold) / len(scores)
    if now is not None and abs(now - share) <= MOVES_AT_LEAST:
        return state
    return state._replace(threshold=quantile(scores, share))


def quantile(scores: Sequence[float] | NDArray[np.float64], share: float) -> float:
    """Return the score that a `share` of the scores reaches; 1 where none may. `scores` are 0..1, and not empty."""
    keep = round(share * len(scores))
    if keep <= 0:
        return 1.0
    return float(np.partition(np.asarray(scores), len(scores) - keep)[len(scores) - keep])

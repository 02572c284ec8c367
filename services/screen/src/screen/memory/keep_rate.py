"""Keep the share of a slice that its budget allows: the threshold is a quantile of the slice's last scores. Pure.

The threshold is the (1 - q) quantile of the last 1,500 scores of frames that the score decides on; q is the share of
these that the budget leaves after the audit. What was kept too little or too much is a debt that moves q a little, so
that the day's total comes out; a rate that is far off raises an alarm, and all but the newest scores are forgotten.
Holding a short window's rate tighter than this would cost the best frames: they come in clusters.
"""

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RING = 1_500
SEGMENT = 50
FULL = RING // SEGMENT  # beside the newest, which is being filled
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
BYTES = 8  # of a score
_PACK = struct.Struct("d").pack
Shares = tuple[float, float]


class Segment(NamedTuple):
    """Up to 50 scores in the order they came; `received` frames of the slice came meanwhile, scored or not.

    `packed` are the scores as they lie in an array, 8 bytes each: the ring's are looked at together, as one.
    """

    number: int
    received: int = 0
    packed: bytes = b""

    @property
    def scores(self) -> tuple[float, ...]:
        return struct.unpack(f"{len(self.packed) // BYTES}d", self.packed)


class KeepRate(NamedTuple):
    """What a slice's controller remembers.

    `newest` is the segment that is being filled, `full` are those before it, the oldest first. `debt`: frames that the
    budget allowed and that were not kept. `recent`: of the last 150 frames, "1" for a kept one.
    `threshold` is None until there are 200 scores, 50 of a tenant as a whole. `scale` names what the scores were made
    by. `reach` are the scores that the largest and the least share allowed to a slice reach, where it shares its
    tenant's threshold.
    It and the newest segment are made anew for every frame, by their fields: `_replace` takes two to three times as
    long.
    """

    newest: Segment = Segment(0)
    full: tuple[Segment, ...] = ()
    debt: float = 0.0
    threshold: float | None = None
    recent: str = ""
    scale: str = ""
    reach: tuple[float, float] | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (*self.full, self.newest)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Return the last 1,500 scores [N], oldest first."""
        return np.frombuffer(b"".join([segment.packed for segment in self.segments]))[-RING:]

    @property
    def size(self) -> int:
        """Return how many scores there are."""
        return min(RING, self._count_scored())

    @property
    def share(self) -> float:
        """Return the share of received frames that the score decided on; 1 before any came."""
        received = sum([segment.received for segment in self.segments])
        return self._count_scored() / received if received else 1.0

    def _count_scored(self) -> int:
        return sum([len(segment.packed) for segment in self.segments]) // BYTES


NOTHING_KNOWN = KeepRate()


def rank(score: float, frame_id: str) -> float:
    """Return a score with the frame's lot behind its last digit, 0..1: so equal scores are not all kept, or none.

    Scores have six digits, and the lot comes from the frame's id: a replay decides the same.
    """
    lot = int.from_bytes(blake2b(b"tie/" + frame_id.encode(), digest_size=7).digest(), "big") / 2**56
    return score * (1 - LOT) + lot * LOT


def restart_on_scale(state: KeepRate, scale: str) -> KeepRate:
    """Return the state for scores of another scale: those it has say nothing there, what is owed stays owed."""
    empty = Segment(state.newest.number + 1)
    return state._replace(newest=empty, full=(), threshold=None, scale=scale, reach=None)


def share_to_keep(state: KeepRate, budget: float, audit_share: float) -> float:
    """Return q, the share of the scored frames to keep, 0..1: what the budget leaves after the audit, and the debt.

    The debt moves it to between half and twice of what it would be.
    """
    budgeted_share = _share_of_scored(state, budget, audit_share)
    return min(1.0, max(budgeted_share / 2, min(2 * budgeted_share, budgeted_share + state.debt / DEBT_OVER)))


def _share_of_scored(state: KeepRate, budget: float, audit_share: float) -> float:
    """Return what share of the scored frames a budget of all frames leaves after the audit; may be over 1."""
    return max(0.0, budget - audit_share) / max(1e-9, (1 - audit_share) * state.share)


def add_frame(
    state: KeepRate,
    score: float | None,
    kept: bool | None,
    *,
    budget: float,
    audit_share: float,
    enough: int = ENOUGH,
    allowed: Shares | None = None,
    alarmed: bool = True,
) -> KeepRate:
    """Return the state after one more frame; `score` is None where the score had nothing to decide.

    Every 25 scores the threshold is looked at again; there is one from `enough` scores on. `allowed` are the least and
    the largest share of a slice's frames, where it shares its tenant's threshold. What was only looked at is neither
    `kept` nor dropped (None): nothing is owed for it. A whole tenant is not `alarmed`: its frames come from one road
    after another, and a night is no change of regime.
    """
    number, received, packed = state.newest
    if score is not None:
        packed += _PACK(score)
        if len(packed) % (EVERY * BYTES) == 0:
            state = _replace_newest(state, Segment(number, received, packed))
            state = _renew_thresholds(state, budget, audit_share, enough, allowed)
            number, received, packed = state.newest
    newest = Segment(number, received + 1, packed)
    if kept is None:
        return _replace_newest(state, newest)
    debt = round(min(DEBT_AT_MOST, max(-DEBT_AT_MOST, state.debt + budget - kept)), 6)
    recent = (state.recent + "01"[kept])[-WATCHED:]
    state = KeepRate(newest, state.full, debt, state.threshold, recent, state.scale, state.reach)
    if alarmed and len(recent) == WATCHED and abs(recent.count("1") / WATCHED - budget) > ALARM:
        forgetful = state._replace(full=state.full[-REMEMBERED_AFTER_ALARM:], recent="")
        return _renew_thresholds(forgetful, budget, audit_share)
    return state


def _replace_newest(state: KeepRate, newest: Segment) -> KeepRate:
    """Return the state with another newest segment; where that is full, a new one is begun."""
    if len(newest.packed) < SEGMENT * BYTES:
        return KeepRate(newest, *state[1:])
    return KeepRate(Segment(newest.number + 1), (*state.full, newest)[-FULL:], *state[2:])


def _renew_thresholds(
    state: KeepRate, budget: float, audit_share: float, enough: int = ENOUGH, allowed: Shares | None = None
) -> KeepRate:
    """Return the state with what its scores now say: the threshold, and what the allowed shares reach."""
    size = state.size
    if state.threshold is not None or size >= enough:
        state = _move_threshold(state, share_to_keep(state, budget, audit_share))
    if allowed is None or size < ENOUGH:
        return state
    least, most = (min(1.0, _share_of_scored(state, share, audit_share)) for share in allowed)
    scores = state.scores
    return state._replace(reach=(quantile(scores, most), quantile(scores, least)))


def _move_threshold(state: KeepRate, share: float) -> KeepRate:
    """Move the threshold where that changes the rate by more than 0.2 points."""
    scores = state.scores
    reached_share = None if state.threshold is None else np.count_nonzero(scores >= state.threshold) / len(scores)
    if reached_share is not None and abs(reached_share - share) <= MOVES_AT_LEAST:
        return state
    return state._replace(threshold=quantile(scores, share))


def quantile(scores: Sequence[float] | NDArray[np.float64], share: float) -> float:
    """Return the score that a `share` of the scores reaches; 1 where none may. `scores` are 0..1, and not empty."""
    keep = round(share * len(scores))
    if keep <= 0:
        return 1.0
    return float(np.partition(np.asarray(scores), len(scores) - keep)[len(scores) - keep])

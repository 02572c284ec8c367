"""When a newly fitted predictor takes the place of the one in force: it must be better on fresh frames. Pure."""

from collections.abc import Sequence

from roadloop_schemas.policies import ScreenPolicy
from screen.decision import score
from screen.learn.labelled_audit import LabelledFrame, select_recent
from screen.learn.predictor import fit, is_better
from screen.memory.keep_rate import quantile

LEAST_HARD = 30
FRESH, FRESH_HARD, FRESH_AT_MOST = 100, 10, 2_000


def propose(labelled_frames: Sequence[LabelledFrame], policy: ScreenPolicy) -> ScreenPolicy | None:
    """Return the policy with a predictor that is better than what is in force; None where there is none.

    It is fitted on all but the newest frames of the audit, which come to at least 30 hard ones, and has to order these
    fresh ones better: at least 100, which come to 10 hard ones. A frame with fewer errors than a hard one counts in
    part: few frames are hard, and every error teaches. The threshold that comes with it lets the keep budget through.
    """
    ordered = select_recent(labelled_frames)
    hard = [labelled.hardness(policy) for labelled in ordered]
    fresh = _count_fresh(hard)
    old = len(ordered) - fresh
    if not fresh or not LEAST_HARD <= sum(hard[:old]) < old or len(set(hard[old:])) == 1:
        return None
    parts = [labelled.frame.parts for labelled in ordered]
    conditions = [labelled.frame.condition for labelled in ordered]
    predictor = fit(parts[:old], conditions[:old], hard[:old]).model_copy(update={"fitted_until": ordered[old - 1].at})
    if policy.predictor and policy.predictor.fitted_until and policy.predictor.fitted_until >= ordered[old - 1].at:
        return None
    frames = list(zip(parts, conditions, strict=True))
    new_scores = [score.chance(*frame, predictor) for frame in frames]
    old_scores = [score.combine(*frame, policy) for frame in frames[old:]]
    if not is_better(new_scores[old:], old_scores, hard[old:]):
        return None
    return policy.model_copy(update={"predictor": predictor, "threshold": choose_start_threshold(new_scores, policy)})


def _count_fresh(hard: Sequence[float]) -> int:
    """Return how many of the newest frames are to judge a fit: at least 100, as hard as 10; 0 for too few.

    Beyond 2,000 it is given up: what is hard that rarely needs another meaning of hard.
    """
    hardness = 0.0
    for count, frame_hardness in enumerate(reversed(hard[-FRESH_AT_MOST:]), 1):
        hardness += frame_hardness
        if count >= FRESH and hardness >= FRESH_HARD:
            return count
    return 0


def choose_start_threshold(scores: Sequence[float], policy: ScreenPolicy) -> float:
    """Return the threshold until slices have their own: the audit is a fair sample, so its quantile is that of all."""
    share_left = max(0.0, policy.keep_budget - policy.audit_share) / max(1e-9, 1 - policy.audit_share)
    return quantile(scores, min(1.0, share_left))

"""What the audit teaches becomes a policy: a better score, and what empty roads look like. Pure."""

from collections.abc import Sequence

from roadloop_schemas.policies import ScreenPolicy
from screen.learn.empty_scenes import choose_empty_scenes, has_news
from screen.learn.labelled_audit import LabelledFrame
from screen.learn.predictor_acceptance import propose


def improve_policy(labelled_frames: Sequence[LabelledFrame], policy: ScreenPolicy) -> ScreenPolicy | None:
    """Return the policy with what the audit has taught since; None where that is nothing, or nobody asks for it.

    A predictor needs thresholds that follow the scores, so a controlled policy; empty scenes one that drops their like.
    """
    better = propose(labelled_frames, policy) if policy.controlled else None
    scenes = choose_empty_scenes(labelled_frames) if policy.no_target_cosine else None
    if scenes is None or not has_news(scenes, policy.empty_scenes):
        return better
    return (better or policy).model_copy(update={"empty_scenes": scenes})

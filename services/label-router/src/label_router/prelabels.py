"""Which of a model's detections annotators are shown as a beginning. Pure."""

from dataclasses import dataclass

from roadloop_schemas.fields import Detection
from roadloop_schemas.frames import FrameScreened


@dataclass(frozen=True, slots=True)
class Policy:
    """Which detections are shown to annotators as pre-labels. `min_prelabel_score` is 0..1, its end included."""

    min_prelabel_score: float = 0.3


def choose_prelabels(verdict: FrameScreened, classes: tuple[str, ...], policy: Policy) -> tuple[Detection, ...]:
    """Return the detections to show, in the model's order: none on an audit frame, which is labelled blind.

    A class the queue does not ask for is not shown: the annotator could not hand it in. From which score on, the
    release of the version that judged says; of a verdict that does not tell, our own policy.
    """
    if verdict.audit:
        return ()
    least = policy.min_prelabel_score if verdict.prelabel_from is None else verdict.prelabel_from
    return tuple(
        detection
        for detection in verdict.detections
        if detection.score >= least and (not classes or detection.class_name in classes)
    )

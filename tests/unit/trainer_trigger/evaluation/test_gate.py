"""Which candidates go live."""

import pytest

from trainer_trigger.evaluation.gate import Pass, Refusal, Refuse, Report, gate
from trainer_trigger.tables.spec import GatePolicy

POLICY = GatePolicy(min_gain=0.01, max_condition_loss=0.02, min_confidence=0.9)
SERVING = Report({"clear": 0.50, "night": 0.10})


@pytest.mark.parametrize(
    ("candidate", "confidence", "verdict"),
    [
        pytest.param({"clear": 0.50, "night": 0.50}, 1.0, Pass(0.20), id="better-in-one-and-the-same-in-the-other"),
        pytest.param({"clear": 0.50, "night": 0.12}, 1.0, Pass(0.01), id="the-wanted-gain-is-enough"),
        pytest.param({"clear": 0.48, "night": 0.30}, 1.0, Pass(0.09), id="the-allowed-loss-is-allowed"),
        pytest.param(
            {"clear": 0.50, "night": 0.11},
            1.0,
            Refuse(((Refusal.GAIN_TOO_SMALL, "mean mAP50 +0.0050, at least +0.0100 is wanted"),)),
            id="half-the-wanted-gain-is-too-small",
        ),
        pytest.param(
            {"clear": 0.40, "night": 0.50},
            1.0,
            Refuse(((Refusal.CONDITION_LOST, "clear mAP50 -0.1000, at most 0.0200 may be lost"),)),
            id="a-better-mean-does-not-pay-for-a-lost-condition",
        ),
        pytest.param(
            {"clear": 0.50, "night": 0.50},
            0.8,
            Refuse(((Refusal.NOT_SURE_ENOUGH, "better on 0.800 of resampled sets, 0.900 is wanted"),)),
            id="a-gain-that-may-be-luck",
        ),
        pytest.param(
            {"clear": 0.30, "night": 0.00},
            0.0,
            Refuse(
                (
                    (Refusal.GAIN_TOO_SMALL, "mean mAP50 -0.1500, at least +0.0100 is wanted"),
                    (Refusal.CONDITION_LOST, "clear mAP50 -0.2000, at most 0.0200 may be lost"),
                    (Refusal.CONDITION_LOST, "night mAP50 -0.1000, at most 0.0200 may be lost"),
                    (Refusal.NOT_SURE_ENOUGH, "better on 0.000 of resampled sets, 0.900 is wanted"),
                )
            ),
            id="worse-in-everything-is-told-everything",
        ),
        pytest.param(
            {"clear": 0.90},
            1.0,
            Refuse(((Refusal.OTHER_CONDITIONS, "['clear'] measured, ['clear', 'night'] wanted"),)),
            id="a-condition-that-was-not-measured",
        ),
    ],
)
def test_the_gate(candidate: dict[str, float], confidence: float, verdict: Pass | Refuse) -> None:
    found = gate(SERVING, Report(candidate), POLICY, confidence=confidence)
    if isinstance(verdict, Pass):
        assert isinstance(found, Pass)
        assert found.gain == pytest.approx(verdict.gain)
    else:
        assert found == verdict

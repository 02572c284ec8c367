"""What would have been kept under another policy: history judged anew, by the same code, without a picture. Pure.

Parts of the score and likenesses are those recorded. Where another policy keeps other frames, later ones would have
been compared with other kept ones: from there on novelty and duplicates are approximate; the answer says for how many.
Asked for an exact answer, every picture is compared anew, with those that would have been kept; that takes longer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from roadloop_schemas.fields import LabelBox
from roadloop_schemas.frames import Verdict, VerdictReason
from roadloop_schemas.policies import ScreenPolicy
from screen.decision.decide_frame import Decision
from screen.decision.facts import Facts, add_novelty, compare_anew
from screen.decision.near_duplicates import compare, remember_picture
from screen.decision.scene_distance import measure_scene
from screen.decision.screen_frame import DEFAULT_POLICY, judge, judge_as_shadow
from screen.decision.thresholds import SliceThreshold
from screen.history.rows import add_eye, facts_of_row, picture_of_row
from screen.memory.state import Memory
from screen.vision.detections import Box
from screen.vision.label_errors import count_errors
from screen.what_if.labelling_effort import estimate_seconds

EXAMPLES = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AUDIT_ALONE = (VerdictReason.AUDIT,)
Policies = Mapping[tuple[str, int], ScreenPolicy]
Labels = Mapping[str, Sequence[LabelBox]]
Change = Callable[[ScreenPolicy], ScreenPolicy]


class UnknownPolicy(Exception):
    """History has no version of a policy that it was judged by."""


@dataclass
class SliceAnswer:
    """A slice's frames: how many came, how many were kept, and how many would be.

    `objects` counts what the model claims in kept frames. Of labelled frames of the audit, `hard` are those in which
    the model erred; `found_now` and `found_then` those of them that anything but the audit kept, or would keep.
    """

    seen: int = 0
    kept_now: int = 0
    kept_then: int = 0
    objects: int = 0
    hard: int = 0
    found_now: int = 0
    found_then: int = 0

    def add(self, other: "SliceAnswer") -> None:
        """Add another one's counts to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def label_seconds(self, kept: int) -> float:
        """Return what labelling so many frames takes, at this slice's objects per kept frame."""
        objects = self.objects / self.kept_now if self.kept_now else 0.0
        return estimate_seconds(kept, objects)


@dataclass
class Answer:
    """What another policy would have done. `gained` and `lost` are some frames that it would keep, or no more.

    `differing` verdicts are not those of the record in verdict, reasons or threshold: without a change of policy there
    are none. `approximate` ones were judged after the first frame that was kept differently; `left_out` are from before
    verdicts carried what they were decided from. Of an exact answer those are approximate that are from before verdicts
    carried what pictures are compared by; later ones were not compared with them.
    """

    slices: dict[str, SliceAnswer] = field(default_factory=dict)
    gained: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    judged: int = 0
    left_out: int = 0
    differing: int = 0
    approximate: int = 0
    first_differing: str = ""
    exact: bool = False

    def slice(self, name: str) -> SliceAnswer:
        """Return the answer of a slice; with nothing in it where this is the first of it."""
        slice_answer = self.slices.get(name)
        if slice_answer is None:
            slice_answer = self.slices[name] = SliceAnswer()
        return slice_answer

    def add(self, other: "Answer") -> None:
        """Add another partition's answer to this one."""
        for name, slice_answer in other.slices.items():
            self.slice(name).add(slice_answer)
        self.gained, self.lost = (self.gained + other.gained)[:EXAMPLES], (self.lost + other.lost)[:EXAMPLES]
        for key in ("judged", "left_out", "differing", "approximate"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.first_differing = self.first_differing or other.first_differing


def rejudge(
    rows: Iterable[Mapping[str, Any]],
    policies: Policies,
    change: Change,
    *,
    tenant: str,
    since: datetime,
    labels: Labels,
    hard_from: int = 1,
    exact: bool = False,
) -> Answer:
    """Judge one partition's history of a tenant anew, each frame by a change of the policy that it was judged by.

    `rows` are as `History.rows` gives them. What came before `since` is judged for what it leaves in memory, and not
    counted. `labels` are those of the audit; from `hard_from` errors of the model a frame is hard. Raises
    UnknownPolicy.
    """
    answer, memory, changed = Answer(exact=exact), Memory(), dict[int, ScreenPolicy]()
    since_us = (since - EPOCH) // timedelta(microseconds=1)
    for row in rows:
        facts = facts_of_row(row) if row["tenant"] == tenant else None
        if facts is None:
            answer.left_out += row["tenant"] == tenant
            continue
        version = row["policy_version"]
        if version not in changed:
            changed[version] = change(policy_of(policies, tenant, version))
        is_compared = exact and row["dhash"] is not None
        judge_row = _judge_by_picture if is_compared else _judge_as_recorded
        memory, decision, threshold = judge_row(memory, row, facts, changed[version])
        if row["received_at"] >= since_us:
            answer.approximate += not is_compared and (exact or bool(answer.gained or answer.lost))
            _count(answer, row, decision, threshold.value, _count_row_errors(row, labels) >= hard_from)
    return answer


def _judge_as_recorded(
    memory: Memory, row: Mapping[str, Any], facts: Facts, policy: ScreenPolicy
) -> tuple[Memory, Decision, SliceThreshold]:
    """Judge a frame by how like it was to those that were kept."""
    if row["shadow_parts"]:
        memory, _ = judge_as_shadow(memory, facts, row["shadow_version"], dict(row["shadow_parts"]), policy)
    return judge(memory, facts, policy)


def _judge_by_picture(
    memory: Memory, row: Mapping[str, Any], facts: Facts, policy: ScreenPolicy
) -> tuple[Memory, Decision, SliceThreshold]:
    """Judge a frame by how like it is to those that would have been kept, and remember it for those after it."""
    picture, facts = picture_of_row(row), add_eye(row, facts)
    if facts.unjudged is not None:
        return judge(memory, facts, policy)
    keys, scene = facts.keys, measure_scene(memory, facts.keys, picture.embedding)
    facts = compare_anew(facts, compare(memory, keys, picture, scene))
    if row["shadow_parts"]:
        parts = dict(row["shadow_parts"])
        # whose eye is another looks without the picture as a whole: then no part is of it
        parts = add_novelty(parts, facts.nearest_cosine if "unusual" in parts else None)
        memory, _ = judge_as_shadow(memory, facts, row["shadow_version"], parts, policy)
    memory, decision, threshold = judge(memory, facts, policy)
    return remember_picture(memory, keys, picture, scene, kept=decision.verdict is Verdict.KEPT), decision, threshold


def policy_of(policies: Policies, tenant: str, version: int) -> ScreenPolicy:
    """Return a version of a tenant's policy; version 0 is that of tenants without one."""
    if version == 0:
        return DEFAULT_POLICY
    if (tenant, version) not in policies:
        raise UnknownPolicy(
            f"history has no version {version} of the policy of tenant {tenant}: it came and went while "
            "`screen.history` was away; add its row to the table screen.policies, and ask again"
        )
    return policies[tenant, version]


def _count_row_errors(row: Mapping[str, Any], labels: Labels) -> int:
    """Return how many errors the model made in a labelled frame; 0 for any other."""
    if row["frame_id"] not in labels:
        return 0
    return count_errors([Box(**claim) for claim in row["claims"]], labels[row["frame_id"]])


def _count(answer: Answer, row: Mapping[str, Any], decision: Decision, threshold: float, is_hard: bool) -> None:
    kept_now, kept_then = row["verdict"] == Verdict.KEPT, decision.verdict is Verdict.KEPT
    slice_answer = answer.slice(row["slice"])
    slice_answer.seen += 1
    slice_answer.kept_now += kept_now
    slice_answer.kept_then += kept_then
    slice_answer.objects += len(row["claims"])
    slice_answer.hard += is_hard
    slice_answer.found_now += is_hard and tuple(row["reasons"]) != AUDIT_ALONE
    slice_answer.found_then += is_hard and decision.reasons != AUDIT_ALONE
    answer.judged += 1
    if kept_now != kept_then and len(examples := answer.gained if kept_then else answer.lost) < EXAMPLES:
        examples.append(row["frame_id"])
    if (row["verdict"], row["reasons"], row["threshold"]) != (decision.verdict, list(decision.reasons), threshold):
        answer.differing += 1
        answer.first_differing = answer.first_differing or row["frame_id"]


def change_policy(policy: ScreenPolicy, *, keep: float | None = None, quotas: Mapping[str, str]) -> ScreenPolicy:
    """Return a policy with another keep budget, and slices' budgets given as a share or a multiple of theirs.

    A quota is of a condition, or of condition/camera: {"night": "2x", "rain/front": "0.2"}. Another keep budget takes
    the slices' own along. Raises ValueError, which says what is wrong.
    """
    budgets = dict(policy.slice_budgets)
    if keep is not None:
        scale = keep / policy.keep_budget if policy.keep_budget else 1.0
        budgets = {name: _round_share(budget * scale) for name, budget in budgets.items()}
        policy = policy.model_copy(update={"keep_budget": keep})
    for name, quota in quotas.items():
        names = {key for key in budgets if key == name or key.startswith(f"{name}/")} | {name}
        budgets |= {key: _apply_quota(quota, budgets.get(key, policy.keep_budget)) for key in names}
    return policy.model_copy(update={"slice_budgets": budgets})


def _apply_quota(quota: str, budget: float) -> float:
    try:
        value = float(quota.removesuffix("x"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1 and not (quota.endswith("x") and value > 1):
        raise ValueError(f"{quota!r} is no quota: give a share such as 0.2, or a multiple such as 2x")
    return _round_share(budget * value) if quota.endswith("x") else value


def _round_share(value: float) -> float:
    return round(min(1.0, value), 6)

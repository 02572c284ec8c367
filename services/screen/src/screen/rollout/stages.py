"""How a new version comes to serve: as a shadow, then for a growing share of units, then for all. Pure."""

from dataclasses import dataclass, replace

from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.models import Candidate, ModelReleased, RolloutStage, detector_of

FAILURES_AT_MOST = 0.01
FAILURES_ALWAYS_ALLOWED = 2  # a server that is started again fails what it was just asked


@dataclass(frozen=True, slots=True)
class Plan:
    """How carefully versions are tried.

    `shadow` is the share of units at which a version looks, too, `shares` are those that it judges after that, one
    after the other, and `frames` is how many it must have answered in each stage. Where no frame at all has come for
    `patience_s` it goes on with what it saw: the fleet is asleep. Without stages a version serves at once.
    """

    shadow: float = 0.2
    shares: tuple[float, ...] = (0.1, 0.5)
    frames: int = 400  # each of six partitions learns a threshold from 50
    patience_s: float = 600.0

    @property
    def stages(self) -> tuple[tuple[RolloutStage, float], ...]:
        """Return the stages in their order, each with its share of units."""
        shadow = ((RolloutStage.SHADOW, self.shadow),) if self.shadow else ()
        return (*shadow, *((RolloutStage.SHARED, share) for share in self.shares))


def is_tried(release: ModelReleased, tenant: str) -> bool:
    """Say whether a release goes through the stages: what judges its tenant's frames does, unless it did before."""
    return release.model == detector_of(tenant) and not release.rollback


@dataclass(frozen=True, slots=True)
class Tally:
    """How many live frames a version has answered in a stage, and how many not; `why` it did not at first."""

    answered: int = 0
    failed: int = 0
    why: str = ""

    def add_verdict(self, verdict: FrameScreened, version: int) -> "Tally":
        """Return the tally after one more verdict, of whatever version."""
        shadow = verdict.shadow
        if shadow is not None and shadow.version == version:
            if shadow.failure:
                return replace(self, failed=self.failed + 1, why=self.why or f"{shadow.failure} ({verdict.frame_id})")
            return replace(self, answered=self.answered + 1)
        is_answer = verdict.models is not None and verdict.models.version == version and verdict.score is not None
        return replace(self, answered=self.answered + is_answer)

    @property
    def seen(self) -> int:
        return self.answered + self.failed

    @property
    def fails(self) -> bool:
        """Say whether the version failed on more frames than a good one does."""
        return self.failed > max(FAILURES_ALWAYS_ALLOWED, FAILURES_AT_MOST * self.seen)


def is_through(tally: Tally, plan: Plan, quiet_s: float) -> bool:
    """Say whether a stage has seen enough, where the last frame of any version came so many seconds ago.

    How long a stage takes does not count: on a slow machine as many frames are wanted as on a fast one.
    """
    return not tally.fails and (tally.seen >= plan.frames or quiet_s >= plan.patience_s)


def next_stage(candidate: Candidate, plan: Plan) -> Candidate | None:
    """Return a version in the stage after the one it is in; None where it is to serve."""
    stages = plan.stages
    stage = (candidate.stage, candidate.share)
    later = stages[stages.index(stage) + 1 :] if stage in stages else stages[:1]
    return candidate.model_copy(update={"stage": later[0][0], "share": later[0][1]}) if later else None

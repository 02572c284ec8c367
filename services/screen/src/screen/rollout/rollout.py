"""The rollout process: loads a released version beside the serving one, tries it on live frames, then says it serves.

Run as `python -m screen.rollout`. A serving version is never edited or reloaded in place, and a release that does not
load, or fails on live frames, leaves the version before it serving. A rollback serves at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka.offset_reader import open_tail
from roadloop_runtime.kafka.reader import Follower, read_partition
from roadloop_runtime.loop.identity import Identity
from roadloop_runtime.outcome import Transient
from roadloop_runtime.records import Event, Partition, Record, tenant_of
from roadloop_runtime.service import lifecycle
from roadloop_runtime.service.health import make_health_app, serve_http
from roadloop_runtime.storage.objects import open_store
from roadloop_schemas.frames import FrameScreened
from roadloop_schemas.models import Candidate, ModelReleased, ModelServing, ServingState, detector_of
from roadloop_schemas.topics import FRAMES_SCREENED, MODELS_RELEASED, read_topic_files
from screen.decision.serving_versions import remembered_versions
from screen.inference.triton import Triton
from screen.rollout.loading import NOT_LOADABLE, Loading
from screen.rollout.model_repository import Instances
from screen.rollout.serving_events import SERVING, make_candidate, make_event, make_serving
from screen.rollout.settings import RolloutSettings
from screen.rollout.stages import Plan, Tally, is_through, is_tried, next_stage

log = structlog.get_logger()
RELEASED, VERDICTS = MODELS_RELEASED, FRAMES_SCREENED
LOOK_AFTER_S = 2.0
HEALED_AT_MOST = 3
Tell = Callable[[Sequence[Event]], Awaitable[None]]  # all or none


@dataclass
class Trial:
    """The stage that a version is in: what it made of live frames, and how often it was loaded anew.

    `last_frame_at` is when the tenant's last frame was decided, by whatever version, or when the stage began.
    """

    last_frame_at: float
    tally: Tally = field(default_factory=Tally)
    healed: int = 0


class Rollout:
    """Desired state (releases), told state (serving events), and the hand on the model server."""

    def __init__(
        self,
        loading: Loading,
        tell: Tell,
        *,
        plan: Plan,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loading = loading
        self._publish = tell
        self._plan = plan
        self._clock = clock
        self._releases: dict[str, tuple[ModelReleased, str]] = {}
        self._serving: dict[str, ModelServing] = {}
        self._trials: dict[str, Trial] = {}
        self._refused: set[str] = set()
        self.release_came = asyncio.Event()
        self.trying = asyncio.Event()

    def recall(self, records: list[Record]) -> None:
        """Take over what was told before this process started; a stage that was under way begins anew."""
        for record in records:
            serving = ModelServing.model_validate_json(record.value or b"{}")
            if serving.state is ServingState.SERVING:
                self._take_serving(serving)
            else:
                self._refused.add(serving.release_id)

    async def take(self, record: Record) -> None:
        """Take note of a release."""
        release = ModelReleased.model_validate_json(record.value or b"{}")
        self._releases[release.model] = (release, tenant_of(record))
        self.release_came.set()

    async def take_verdict(self, record: Record) -> None:
        """Take note of what a version on its way made of a live frame."""
        model = detector_of(tenant_of(record))
        trial, serving = self._trials.get(model), self._serving.get(model)
        if trial is None or serving is None or serving.candidate is None:
            return
        trial.last_frame_at = self._clock()
        version = serving.candidate.version
        if f'"version":{version}'.encode() in (record.value or b""):
            verdict = FrameScreened.model_validate_json(record.value or b"")
            trial.tally = trial.tally.add_verdict(verdict, version)

    async def look_after(self) -> None:
        """Bring up what is released and not served, and heal what is served and does not answer; for ever."""
        while True:
            self.release_came.clear()
            await self.look_once()
            try:
                async with asyncio.timeout(LOOK_AFTER_S):
                    await self.release_came.wait()
            except TimeoutError:
                continue

    async def look_once(self) -> None:
        """Look at every model; those that others name as their second come first."""
        for release, tenant in sorted(self._releases.values(), key=lambda r: r[0].second_model is not None):
            await self._look_at(release, tenant)

    async def _look_at(self, release: ModelReleased, tenant: str) -> None:
        serving = self._serving.get(release.model)
        answers = serving is None or await self._loading.answers(release.model, serving.version)
        if serving is not None and not answers:
            await self._heal_serving(release, tenant, serving)
            serving = self._serving[release.model]
        candidate = serving.candidate if serving else None
        if candidate is not None and candidate.release_id == release.release_id:
            if answers:  # else what it fails says nothing of it
                await self._try_on(release, tenant, candidate)
        elif release.release_id not in self._refused and (serving is None or serving.release_id != release.release_id):
            await self._bring_up(release, tenant)

    async def _heal_serving(self, release: ModelReleased, tenant: str, serving: ModelServing) -> None:
        """Load what serves once more; a version on its way that stands in the way of that is refused."""
        candidate = serving.candidate
        if await self._heal(release, serving.version) or candidate is None:
            return
        if (
            await self._heal(release, serving.version, without=candidate.version)
            and candidate.release_id == release.release_id
        ):
            await self._refuse(release, tenant, f"version {serving.version}, which serves, does not load beside it")

    async def _heal(self, release: ModelReleased, version: int, without: int | None = None) -> bool:
        """Load what serves, or is tried, once more, and say whether it may answer now.

        It was told, so what never will load needs a person. A server that is away is asked again later.
        """
        try:
            await self._loading.load(release, version, self._list_versions(release.model) - {without})
        except Transient as error:
            log.warning("rollout_waits", model=release.model, version=version, error=str(error))
        except NOT_LOADABLE as error:
            log.error("version_does_not_load_again", model=release.model, version=version, error=str(error))
            return False
        return True

    async def _bring_up(self, release: ModelReleased, tenant: str) -> None:
        """Load a new version; then it is tried, or where that is not called for, it serves."""
        serving_before = self._serving.get(release.model)
        replaced_version = serving_before.candidate.version if serving_before and serving_before.candidate else None
        try:
            await self._loading.load(release, release.version, self._list_versions(release.model) - {replaced_version})
        except Transient as error:
            log.warning("rollout_waits", model=release.model, version=release.version, error=str(error))
        except NOT_LOADABLE as error:
            await self._refuse(release, tenant, f"{type(error).__name__}: {error}")
        else:
            serving, stages = self._serving.get(release.model), self._plan.stages
            if serving is not None and stages and is_tried(release, tenant):
                await self._tell_stage(serving, make_candidate(release, self._find_second(release), stages[0]), tenant)
            else:
                await self._promote(release, tenant)

    async def _try_on(self, release: ModelReleased, tenant: str, candidate: Candidate) -> None:
        """Move a version on its way to its next stage, or refuse it, by what it made of live frames."""
        trial = self._trials[release.model]
        if not await self._loading.answers(release.model, candidate.version):
            await self._try_again(release, tenant, trial)
        elif trial.tally.fails:
            failures = f"{trial.tally.failed} of {trial.tally.seen} live frames that others judged"
            await self._refuse(release, tenant, f"it failed {failures}: {trial.tally.why}")
        elif is_through(trial.tally, self._plan, self._clock() - trial.last_frame_at):
            await self._go_on(release, tenant, next_stage(candidate, self._plan))

    async def _try_again(self, release: ModelReleased, tenant: str, trial: Trial) -> None:
        """Load a version on its way once more, a few times; what it failed while it was dead does not count."""
        trial.tally, trial.healed = Tally(), trial.healed + 1
        if trial.healed > HEALED_AT_MOST:
            await self._refuse(release, tenant, f"it stopped answering {trial.healed} times while it was tried")
        else:
            await self._heal(release, release.version)

    async def _go_on(self, release: ModelReleased, tenant: str, next_candidate: Candidate | None) -> None:
        if next_candidate is None:
            await self._promote(release, tenant)
        else:
            await self._tell_stage(self._serving[release.model], next_candidate, tenant)

    def _list_versions(self, model: str) -> set[int]:
        """Return the versions of a model that are in use."""
        serving = self._serving.get(model)
        return set(remembered_versions(serving)) if serving else set()

    def _find_second(self, release: ModelReleased) -> ModelServing | None:
        return self._serving.get(release.second_model) if release.second_model else None

    async def _promote(self, release: ModelReleased, tenant: str) -> None:
        now = datetime.now(UTC)
        serving = make_serving(release, self._serving.get(release.model), self._find_second(release), since=now)
        await self._publish([make_event(serving, tenant, release.model)])
        self._take_serving(serving)
        log.info("serving", model=release.model, version=release.version)

    async def _tell_stage(self, serving: ModelServing, candidate: Candidate, tenant: str) -> None:
        updated = serving.model_copy(update={"candidate": candidate})
        await self._publish([make_event(updated, tenant, serving.model)])
        self._take_serving(updated)
        log.info(
            "on_trial",
            model=updated.model,
            version=candidate.version,
            stage=candidate.stage,
            share=candidate.share,
        )

    async def _refuse(self, release: ModelReleased, tenant: str, why: str) -> None:
        """Say why a release does not serve; one that was on trial judges no more, by the same transaction."""
        serving = self._serving.get(release.model)
        alone = serving.model_copy(update={"candidate": None}) if serving and serving.candidate else None
        changes = {"state": ServingState.REFUSED, "detail": why[:1000]}
        refusal = make_serving(release, serving, None, since=datetime.now(UTC)).model_copy(update=changes)
        events = [make_event(alone, tenant, release.model, "without", release.release_id)] if alone else []
        await self._publish([*events, make_event(refusal, tenant, f"{release.model}:refused")])
        self._refused.add(release.release_id)
        if alone:
            self._take_serving(alone)
        log.error("release_refused", model=release.model, version=release.version, why=why)

    def _take_serving(self, serving: ModelServing) -> None:
        self._serving[serving.model] = serving
        if serving.candidate is None:
            self._trials.pop(serving.model, None)
        else:
            self._trials[serving.model] = Trial(self._clock())
        (self.trying.set if self._trials else self.trying.clear)()


async def watch(kafka: str, rollout: Rollout) -> None:
    """Read what is decided on live frames while a version is on trial, from then on; for ever."""
    partitions = read_topic_files()[VERDICTS].partitions
    while True:
        await rollout.trying.wait()
        async with open_tail(kafka, VERDICTS, partitions, "screen.rollout") as tail:
            await tail.go_to_end()
            while rollout.trying.is_set():
                for record in await tail.batch(1_000, within_s=0.5):
                    await rollout.take_verdict(record)


async def main(settings: RolloutSettings, me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop. Opening the writer fences an older rollout process."""
    await admin.check_topics_of_service(settings.kafka_bootstrap, (RELEASED, SERVING, VERDICTS))
    store = open_store(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    writer = await Kafka(settings.kafka_bootstrap, me.client_id).fence("screen.rollout")
    triton = Triton(settings.triton_grpc, lambda _model, _version: ())

    async def tell(events: Sequence[Event]) -> None:
        await writer.transact(events, {}, "")

    instances = Instances(settings.model_instances, settings.model_kind)
    loading = Loading(store.fetch, triton, settings.model_repository, instances)
    rollout = Rollout(loading, tell, plan=settings.plan)
    rollout.recall(list(await read_partition(settings.kafka_bootstrap, Partition(SERVING, 0))))
    follower = Follower(settings.kafka_bootstrap, RELEASED, rollout.take)
    try:
        await lifecycle.run_side_by_side(
            stopping,
            [],
            [
                follower.run(),
                rollout.look_after(),
                watch(settings.kafka_bootstrap, rollout),
                serve_http(make_health_app([], {}, stopping), settings.health_host, settings.health_port, stopping),
            ],
        )
    finally:
        await writer.close()
        await triton.close()

"""The rollout process: loads a released version beside the serving one, asks it a real question, then says it serves.

Run as `python -m screen.rollout`. A serving version is never edited or reloaded in place, and a release that does not
load leaves the version before it serving.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog

from roadloop_runtime import logs, service
from roadloop_runtime.health import health_app, serve_http
from roadloop_runtime.kafka import Kafka, admin
from roadloop_runtime.kafka.reader import Follower, read_partition
from roadloop_runtime.objects import ObjectChanged, ObjectMissing, ObjectRefused, open_store
from roadloop_runtime.outcome import Transient
from roadloop_runtime.process import Identity, identity
from roadloop_runtime.records import Event, Partition, Record, event
from roadloop_schemas.cloudevents import derive_id
from roadloop_schemas.models import ModelReleased, ModelServing, ServingState
from screen import canary, repository
from screen.handle import Fetch, RefusedByModel
from screen.repository import Instances
from screen.settings import RolloutSettings
from screen.triton import NotLoadable, Triton

log = structlog.get_logger()
RELEASED, SERVING = "models.released.v1", "models.serving.v1"
LOOK_AFTER_S = 2.0
NOT_LOADABLE = (NotLoadable, RefusedByModel, ObjectMissing, ObjectChanged, ObjectRefused, ValueError)
Tell = Callable[[Event], Awaitable[None]]


class Rollout:
    """Desired state (releases), told state (serving events) and one hand on the model server."""

    def __init__(self, fetch: Fetch, triton: Triton, folder: Path, tell: Tell, instances: Instances) -> None:
        self._instances = instances
        self._fetch = fetch
        self._triton = triton
        self._folder = folder
        self._publish = tell
        self._releases: dict[str, tuple[ModelReleased, str]] = {}
        self._serving: dict[str, ModelServing] = {}
        self._refused: set[str] = set()
        self._epoch = 0
        self.looked = asyncio.Event()

    def recall(self, records: list[Record]) -> None:
        """Take over what was told before this process started."""
        for record in records:
            said = ModelServing.model_validate_json(record.value or b"{}")
            if said.state is ServingState.SERVING:
                self._serving[said.model] = said
            else:
                self._refused.add(said.release_id)

    async def take(self, record: Record) -> None:
        """Take note of a release."""
        release = ModelReleased.model_validate_json(record.value or b"{}")
        tenant = dict(record.headers).get("ce_tenant", b"").decode()
        self._releases[release.model] = (release, tenant)
        self.looked.set()

    async def look_after(self) -> None:
        """Bring up what is released and not served, and heal what is served and does not answer; for ever."""
        while True:
            self.looked.clear()
            await self.look_once()
            try:
                async with asyncio.timeout(LOOK_AFTER_S):
                    await self.looked.wait()
            except TimeoutError:
                continue

    async def look_once(self) -> None:
        """Look at every model; those that others name as their second come first."""
        for release, tenant in sorted(self._releases.values(), key=lambda r: r[0].second_model is not None):
            await self._bring_up(release, tenant)

    async def _bring_up(self, release: ModelReleased, tenant: str) -> None:
        serving = self._serving.get(release.model)
        answered = release.release_id in self._refused or (serving and serving.release_id == release.release_id)
        version = serving.version if answered and serving else release.version
        if answered and (serving is None or await self._answers(release.model, version)):
            return
        try:
            await self._load(release, version)
        except Transient as error:
            log.warning("rollout_waits", model=release.model, version=version, error=str(error))
        except NOT_LOADABLE as error:
            if answered:  # it was told once; what it needs now is a person
                log.error("serving_version_does_not_load", model=release.model, version=version, error=str(error))
            else:
                await self._refuse(release, tenant, f"{type(error).__name__}: {error}")
        else:
            if not answered:
                await self._tell(release, tenant)

    async def _answers(self, model: str, version: int) -> bool:
        try:
            await self._triton.detect(model, version, canary.PICTURE)
        except (Transient, RefusedByModel):
            return False
        return True

    async def _load(self, release: ModelReleased, version: int) -> None:
        """Put the version into the repository, load it beside the one before, and ask it a real question."""
        if version == release.version and not repository.holds(self._folder, release.model, version):
            weights = await self._fetch(release.weights)
            await asyncio.to_thread(repository.publish, self._folder, release, weights)
        if not await self._triton.is_live():
            raise Transient("triton", "the model server is not live")
        self._epoch += 1
        serving = self._serving.get(release.model)
        beside = {version, serving.version, serving.previous_version or version} if serving else {version}
        versions = [v for v in sorted(beside) if repository.holds(self._folder, release.model, v)]
        config = repository.config(release.model, versions, self._epoch, self._instances)
        await self._triton.load(release.model, json.dumps(config))
        await self._triton.detect(release.model, version, canary.PICTURE)

    async def _tell(self, release: ModelReleased, tenant: str) -> None:
        before = self._serving.get(release.model)
        second = self._serving.get(release.second_model) if release.second_model else None
        said = _served(release, before, second)
        await self._publish(_event(said, tenant, release.model))
        self._serving[release.model] = said
        log.info("serving", model=release.model, version=release.version)

    async def _refuse(self, release: ModelReleased, tenant: str, why: str) -> None:
        self._refused.add(release.release_id)
        refused = {"state": ServingState.REFUSED, "detail": why[:1000]}
        said = _served(release, self._serving.get(release.model), None).model_copy(update=refused)
        await self._publish(_event(said, tenant, f"{release.model}:refused"))
        log.error("release_refused", model=release.model, version=release.version, why=why)


def _served(release: ModelReleased, before: ModelServing | None, second: ModelServing | None) -> ModelServing:
    return ModelServing(
        model=release.model,
        version=release.version,
        release_id=release.release_id,
        previous_version=before.version if before else None,
        second_model=second.model if second else None,
        second_version=second.version if second else None,
        card=release.card,
        prelabels=release.prelabels,
        serving_since=release.released_at,
    )


def _event(said: ModelServing, tenant: str, key: str) -> Event:
    return event(
        SERVING,
        said,
        id=derive_id("serving", said.release_id, said.state),
        source="/roadloop/screen/rollout",
        tenant=tenant,
        key=key,
        time=said.serving_since,
        subject=said.model,
    )


async def main(settings: RolloutSettings, me: Identity, stopping: asyncio.Event) -> None:
    """Run until told to stop. Opening the writer fences an older rollout process."""
    await admin.check_topics_of(settings.kafka_bootstrap, (RELEASED, SERVING))
    store = open_store(settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
    writer = await Kafka(settings.kafka_bootstrap, me.client_id).fence("screen.rollout")
    triton = Triton(settings.triton_grpc, lambda _model, _version: ())

    async def tell(said: Event) -> None:
        await writer.transact([said], {}, "")

    instances = Instances(settings.model_instances, settings.model_kind)
    rollout = Rollout(store.fetch, triton, settings.model_repository, tell, instances)
    rollout.recall(list(await read_partition(settings.kafka_bootstrap, Partition(SERVING, 0))))
    follower = Follower(settings.kafka_bootstrap, RELEASED, rollout.take)
    try:
        await service.side_by_side(
            stopping,
            [],
            [
                follower.run(),
                rollout.look_after(),
                serve_http(health_app([], {}, stopping), settings.health_host, settings.health_port, stopping),
            ],
        )
    finally:
        await writer.close()
        await triton.close()


if __name__ == "__main__":
    read = RolloutSettings.read()
    logs.configure("screen-rollout", read.log_level)
    sys.exit(service.run(partial(main, read, identity(read.member))))

"""What every worker follows without a group: the policies of tenants, and the models that serve."""

from collections.abc import Mapping

from roadloop_runtime.kafka.reader import Follower
from roadloop_runtime.records import Record
from roadloop_schemas.models import ModelServing, ServingState, detector_of
from roadloop_schemas.policies import ScreenPolicy
from roadloop_schemas.topics import MODELS_SERVING, SCREEN_POLICY


class Followed:
    """The newest policy per tenant and the serving version per model."""

    def __init__(self, bootstrap: str) -> None:
        self.policies: dict[str, ScreenPolicy] = {}
        self.serving: dict[str, ModelServing] = {}
        self._names: dict[tuple[str, int], tuple[str, ...]] = {}
        self.policy_follower = Follower(bootstrap, SCREEN_POLICY, self._take_policy)
        self.serving_follower = Follower(bootstrap, MODELS_SERVING, self._take_serving)

    async def _take_policy(self, record: Record) -> None:
        if record.value is not None:
            self.policies[(record.key or b"").decode()] = ScreenPolicy.model_validate_json(record.value)

    async def _take_serving(self, record: Record) -> None:
        if record.value is None:
            return
        serving = ModelServing.model_validate_json(record.value)
        if serving.state is ServingState.SERVING:
            self.serving[serving.model] = serving
            self._names[serving.model, serving.version] = serving.card.classes
            if serving.candidate is not None:
                self._names[serving.model, serving.candidate.version] = serving.candidate.card.classes

    def policies_now(self) -> Mapping[str, ScreenPolicy]:
        return self.policies

    def serving_for(self, tenant: str) -> ModelServing | None:
        return self.serving.get(detector_of(tenant))

    def classes(self, model: str, version: int) -> tuple[str, ...]:
        return self._names.get((model, version), ())

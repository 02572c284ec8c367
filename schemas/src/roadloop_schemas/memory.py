"""What screening remembers, as entries of its internal topic."""

from pydantic import Field

from roadloop_schemas.fields import Count, EventBody, Unit
from roadloop_schemas.frames import SliceCounters


class RingSegment(EventBody):
    """Up to 50 of a slice's scores in the order they came, and how many of its frames came meanwhile."""

    number: Count
    received: Count
    scores: tuple[Unit, ...] = ()


class KeepRateState(EventBody):
    """What a slice's keep-rate controller remembers beside its scores; those before segment `first` are forgotten.

    `scale` names what the scores were made by. `reach` are the scores between which a shared threshold may lie here.
    """

    first: Count
    debt: float
    threshold: Unit | None = None
    recent: str = Field(default="", pattern="^[01]{0,150}$")
    scale: str = ""
    reach: tuple[float, float] | None = None


class UsualSharpness(EventBody):
    """A camera's running median of the Laplacian variance, from how many frames, and its last blurred ones in a row."""

    median: float = Field(ge=0)
    seen: Count
    in_a_row: Count


class SceneryState(EventBody):
    """What pictures of a tenant or a slice usually look like to one network.

    `moments` is base64 of mean and variance, float32 [2, D].
    """

    eye: str
    seen: Count
    moments: str = ""


class KeptScene(EventBody):
    """A kept scene of a slice: base64 of a whitened unit vector, float16 [D].

    `shelf` is the number of the first scene that it lies with, `since` that of the oldest one still looked at.
    """

    eye: str
    number: Count
    shelf: Count
    since: Count
    scene: str


class ScreenMemory(EventBody):
    """A changed entry of one partition's memory, internal to screening: rebuilt from the newest entry per key."""

    slice: str | None = None
    counters: SliceCounters | None = None
    camera: str | None = None
    kept_dhashes: tuple[str, ...] = ()
    kept_objects: tuple[dict[str, Count], ...] = ()
    kept_embeddings: tuple[str, ...] = ()
    kept_brightness: tuple[Unit | None, ...] = ()
    keep_rate: KeepRateState | None = None
    segment: RingSegment | None = None
    sharpness: UsualSharpness | None = None
    scene_of: str | None = None
    scenery: SceneryState | None = None
    drive: str | None = None
    echo: float | None = None
    latest: str = ""
    stride: float | None = None
    kept_scene: KeptScene | None = None
    tenant: str | None = None
    allowances: dict[str, float] = Field(default_factory=dict)
    versions: tuple[Count, ...] = ()

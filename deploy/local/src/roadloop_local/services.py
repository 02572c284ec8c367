"""The services of the loop as programs, in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from roadloop_local.binaries import Binaries
from roadloop_local.layout import Layout
from roadloop_local.program import Program
from roadloop_local.servers import postgres, s3

Variable = Callable[[Layout, Binaries], str]


@dataclass(frozen=True)
class Service:
    """One process: the module it runs, the S3 identity and the Postgres role it has, and what only it is told."""

    module: str
    identity: str
    role: str | None
    serves_http: bool = False
    only: tuple[tuple[str, Variable], ...] = ()


SIGNING_KEY = ("ROADLOOP_SIGNING_KEY", lambda layout, _: layout.secrets["ingest.signing_key"])
AUDIT_SALT = ("ROADLOOP_AUDIT_SALT", lambda layout, _: layout.secrets["screen.audit_salt"])
REPOSITORY = ("ROADLOOP_MODEL_REPOSITORY", lambda layout, _: str(layout.models))
# On one machine a fleet is small, and sleeps soon: a new version is tried on fewer frames, and waits seconds for them.
SOON = (("ROADLOOP_ROLLOUT_FRAMES", lambda *_: "40"), ("ROADLOOP_ROLLOUT_PATIENCE_S", lambda *_: "15"))
WAREHOUSE = ("ROADLOOP_WAREHOUSE", lambda *_: "s3://history")
TRAINER = ("ROADLOOP_TRAINER_PYTHON", lambda _, binaries: str(binaries.trainer_python))
TRAINER_PATH = ("ROADLOOP_TRAINER_PATH", lambda _, binaries: str(binaries.trainer))

SERVICES = {
    "ingest": Service("ingest", "ingest", "ingest", True, (SIGNING_KEY,)),
    "screen": Service("screen", "screen", None, False, (AUDIT_SALT,)),
    "screen-rollout": Service("screen.rollout", "screen", "screen", False, (REPOSITORY, *SOON)),
    "screen-learn": Service("screen.learn", "screen", None),
    "screen-history": Service("screen.history", "screen-history", "screen", False, (WAREHOUSE,)),
    "screen-view": Service("screen.view", "screen", "screen"),
    "label-router": Service("label_router", "label-router", "label_router", True),
    "trainer-trigger": Service("trainer_trigger", "trainer-trigger", "trainer_trigger", True, (TRAINER, TRAINER_PATH)),
}
SECRETS = ("ingest.signing_key", "screen.audit_salt")


def list_port_names(name: str) -> tuple[str, ...]:
    """Return the names of a service's ports in the layout."""
    return (f"{name}_health", f"{name}_http") if SERVICES[name].serves_http else (f"{name}_health",)


def build_environment(name: str, layout: Layout, binaries: Binaries) -> dict[str, str]:
    """Return the settings of a service."""
    service = SERVICES[name]
    access_key, secret_key = s3.keys_of(layout, service.identity)
    variables = {
        "ROADLOOP_KAFKA_BOOTSTRAP": layout.address("kafka"),
        "ROADLOOP_S3_ENDPOINT": f"http://{layout.address('s3')}",
        "ROADLOOP_S3_ACCESS_KEY": access_key,
        "ROADLOOP_S3_SECRET_KEY": secret_key,
        "ROADLOOP_TRITON_GRPC": layout.address("triton_grpc"),
        "ROADLOOP_HEALTH_PORT": str(layout.ports[f"{name}_health"]),
        "ROADLOOP_STATE_DIR": str(layout.data / "state" / name),
        "ROADLOOP_MEMBER": f"{name}-0",
    }
    if service.role:
        variables["ROADLOOP_POSTGRES_DSN"] = postgres.dsn(layout, service.role)
    if service.serves_http:
        variables["ROADLOOP_HTTP_PORT"] = str(layout.ports[f"{name}_http"])
    return variables | {key: value(layout, binaries) for key, value in service.only}


def describe_program(name: str, layout: Layout, binaries: Binaries, overrides: Mapping[str, str]) -> Program:
    """Return a service as a program that is started again after every unexpected exit."""
    (layout.data / "state" / name).mkdir(parents=True, exist_ok=True)
    variables = build_environment(name, layout.for_services(), binaries) | dict(overrides)
    return Program(name, (str(binaries.python), "-m", SERVICES[name].module), variables, settle_s=0, stop_s=20)

"""Where the servers of a local stack are, for whoever audits it."""

from roadloop_audit.read import Places
from roadloop_local.addresses import Stack


def places_of(local: Stack) -> Places:
    """Return where a local stack is."""
    return Places(
        local.kafka_bootstrap,
        local.postgres_dsn("ingest"),
        local.postgres_dsn("label_router"),
        local.postgres_dsn("trainer_trigger"),
        local.s3_endpoint,
        *local.s3_keys(),
    )

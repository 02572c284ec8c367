"""An offset belongs to one log: the id of its topic is kept with it."""

from roadloop_runtime.storage.migrations import keep_topic_ids

revision = "ingest0004"
down_revision = "ingest0003"


def upgrade() -> None:
    keep_topic_ids()

"""An offset belongs to one log: the id of its topic is kept with it."""

from roadloop_runtime.storage.migrations import keep_topic_ids

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    keep_topic_ids()

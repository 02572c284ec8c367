"""Uploads and frames that came back from a dead letter; manifests are compared as what they say, not by a digest."""

import sqlalchemy as sa
from alembic import op

revision = "ingest0003"
down_revision = "ingest0002"


def upgrade() -> None:
    for table in ("uploads", "frames"):
        op.add_column(table, sa.Column("replayed", sa.Boolean, server_default="false", nullable=False))
    op.drop_column("uploads", "manifest_sha256")

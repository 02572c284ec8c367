"""Uploads that get a fate as a whole: abandoned, or refused before their files were looked at."""

import sqlalchemy as sa
from alembic import op

revision = "ingest0002"
down_revision = "ingest0001"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("whole_fate", sa.Text))
    op.add_column("uploads", sa.Column("whole_reason", sa.Text, server_default="", nullable=False))
    waiting = sa.text("completed_at is null and admitted_at is null and whole_fate is null")
    op.create_index("uploads_waiting", "uploads", ["received_at"], postgresql_where=waiting)

"""Vehicles, uploads, files and frames."""

import sqlalchemy as sa
from alembic import op

from roadloop_runtime.storage.migrations import create_runtime_tables

revision = "ingest0001"
down_revision = None


def upgrade() -> None:
    create_runtime_tables()
    _create_vehicles()
    _create_uploads()
    _create_files()
    _create_frames()


def _create_vehicles() -> None:
    op.create_table(
        "vehicles",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("vehicle", sa.Text, primary_key=True),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
    )


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("upload_id", sa.Text, primary_key=True),
        sa.Column("vehicle", sa.Text, nullable=False),
        sa.Column("drive", sa.Text, nullable=False),
        sa.Column("announced", sa.Integer, nullable=False),
        sa.Column("manifest_sha256", sa.Text),
        sa.Column("manifest", sa.Text),
        sa.Column("completed_at", sa.DateTime(timezone=True)),
        sa.Column("admitted_at", sa.DateTime(timezone=True)),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger, server_default="0", nullable=False),
    )


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("upload_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("fate", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )


def _create_frames() -> None:
    op.create_table(
        "frames",
        sa.Column("frame_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("vehicle", sa.Text, nullable=False),
        sa.Column("upload_id", sa.Text, nullable=False),
        sa.Column("unit_id", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fate", sa.Text, server_default="in_flight", nullable=False),
        sa.Column("reason", sa.Text, server_default="", nullable=False),
        sa.Column("labelled", sa.Boolean, server_default="false", nullable=False),
        sa.Column("trained", sa.Boolean, server_default="false", nullable=False),
        sa.UniqueConstraint("tenant", "vehicle", "sha256"),
    )
    op.create_index("frames_upload", "frames", ["tenant", "upload_id"])
    op.create_index("frames_unit", "frames", ["unit_id"])

"""Forward-only migrations with Alembic: each service brings its own, in its own schema."""

from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa
from alembic import command, op
from alembic.config import Config


def upgrade(package: str, dsn: str) -> None:
    """Bring a service's schema to its newest revision. `dsn` is that service's own role."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(files(package) / "migrations"))
    config.attributes["dsn"] = dsn
    command.upgrade(config, "head")


def keep_topic_ids() -> None:
    """Keep with each offset the id of the topic that it is of; it is not known of those from before."""
    op.add_column("consumer_offsets", sa.Column("topic_id", sa.Text))


def create_runtime_tables() -> None:
    """Create what PostgresSettlement and the outbox need; called by a service's first migration."""
    op.create_table(
        "consumer_offsets",
        sa.Column("consumer_group", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("next_offset", sa.BigInteger),
        sa.Column("settled_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("number", sa.BigInteger, unique=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("header_names", sa.ARRAY(sa.LargeBinary), nullable=False),
        sa.Column("header_values", sa.ARRAY(sa.LargeBinary), nullable=False),
    )
    op.create_index("outbox_unnumbered", "outbox", ["id"], postgresql_where=sa.text("number is null"))

"""What served before, which version is on its way, and which was refused last: so that one can be rolled back."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("alter table serving add column previous_version bigint")
    op.execute("alter table serving add column candidate_version bigint")
    op.execute("alter table serving add column candidate_stage text not null default ''")
    op.execute("alter table serving add column refused_version bigint")

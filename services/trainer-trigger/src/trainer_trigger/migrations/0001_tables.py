"""The tables of trainer-trigger."""

from alembic import op

from roadloop_runtime.storage.migrations import create_runtime_tables

revision = "0001"
down_revision = None

TABLES = (
    """
create table labels (
    tenant text not null,
    frame_id text not null,
    label_version bigint not null,
    picture jsonb not null,
    boxes jsonb not null,
    boxes_digest text not null,
    classes text[] not null,
    condition text not null,
    slice text not null,
    source text not null,
    inclusion_probability double precision not null,
    vehicle text not null,
    drive text not null,
    completed_at timestamptz not null,
    stored_at timestamptz not null default now(),
    unusable text,
    primary key (tenant, frame_id, label_version)
)
""",
    """
create table specs (
    model text primary key,
    tenant text not null,
    body jsonb not null,
    set_by text not null,
    set_at timestamptz not null
)
""",
    """
create table serving (
    model text primary key,
    version bigint,
    serving_since timestamptz,
    answered_version bigint not null,
    refused_detail text not null default ''
)
""",
    """
create table releases (
    model text not null,
    version bigint not null check (version > 0),
    tenant text not null,
    body jsonb not null,
    released_at timestamptz not null,
    primary key (model, version)
)
""",
    """
create table runs (
    run_id text primary key,
    tenant text not null,
    model text not null,
    kind text not null check (kind in ('training', 'offer')),
    dataset_id text not null,
    base_version bigint not null,
    labels bigint not null,
    spec jsonb not null,
    offer jsonb,
    state text not null,
    revision bigint not null,
    candidate_version bigint,
    detail text not null default '',
    metrics jsonb not null default '{}',
    queued_at timestamptz not null,
    changed_at timestamptz not null
)
""",
    "create index runs_by_model on runs (model, kind, queued_at)",
    # one thing at a time per model, whatever else happens
    """
create unique index runs_one_open_training on runs (model)
where kind = 'training' and state in ('queued', 'running', 'evaluated')
""",
    """
create table run_frames (
    run_id text not null references runs,
    frame_id text not null,
    label_version bigint not null,
    primary key (run_id, frame_id)
)
""",
    """
create table researchers (
    researcher_id text primary key,
    tenant text not null,
    name text not null,
    token_sha256 text not null unique,
    enrolled_at timestamptz not null,
    revoked_at timestamptz,
    unique (tenant, name)
)
""",
)


def upgrade() -> None:
    create_runtime_tables()
    for statement in TABLES:
        op.execute(statement)

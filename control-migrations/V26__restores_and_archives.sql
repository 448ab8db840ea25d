-- How long each restore in place kept its tenant out; and how archives are, or that one has ended.

create table restores (
    job_id  bigint primary key references jobs on delete cascade,
    -- Before Postgres refuses the tenant's logins.
    shut_at timestamptz not null default clock_timestamp(),
    -- When running servers know what is live now; null until then. Killed in between, it is the last time.
    open_at timestamptz
);

alter table archives
    -- Nothing has been archived since. What there is can be restored from until it is deleted, and holds what was erased since.
    add column ended_at      timestamptz,
    -- When a worker last heard from the cluster how its archiving goes; and since when it has failed, null while it does not.
    add column looked_at     timestamptz,
    add column failing_since timestamptz;

-- Which schema version each tenant is at, and the runs that bring a whole fleet to a newer one.

-- A copy for the router and the fleet runner: the history in the tenant's own schema is the truth, and corrects it.
-- Whoever changes it counts the generation up, so that pools and prepared statements of the old version go.
-- Version 2 is what every build made before this column was.
alter table placements add column schema_version integer not null default 2 check (schema_version >= 0);
alter table placements alter column schema_version drop default;
create index placements_by_version on placements (schema_version);

-- One order of an operator to bring every tenant to a version.
create table migration_runs (
    id         bigint generated always as identity primary key,
    target     integer not null,
    -- Waves, parallelism, failure budget, lock timeout: a run that is taken up again goes by the same.
    options    jsonb   not null,
    -- stopping: somebody asked; the runner has not seen it yet. A running one whose runner died stays as it is here,
    -- and its lock is free.
    state      text    not null check (state in ('running', 'stopping', 'stopped', 'failed', 'done')),
    actor      text    not null,
    started_at timestamptz not null default now(),
    ended_at   timestamptz
);

-- What became of each tenant in a run. Those that were up to date have no row.
create table migrations (
    run_id       bigint  not null references migration_runs,
    tenant_id    integer not null references tenants,
    -- 0: the canaries. Nobody of a wave is touched before the one before it is over.
    wave         integer not null,
    state        text    not null check (state in ('waiting', 'done', 'failed')),
    from_version integer not null,
    to_version   integer,
    ms           integer,
    attempts     integer not null default 0,
    -- Never a caller's words: messages that can quote data are left out.
    error        text,
    primary key (run_id, tenant_id),
    check ((state = 'failed') = (error is not null))
);

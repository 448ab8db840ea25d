-- Backups of one tenant each: what was written where, and what it holds.

create table backups (
    id             uuid primary key,
    tenant_id      integer not null references tenants,
    -- The folder that it lies in, under its id.
    store          text not null check (length(store) between 1 and 1000),
    -- writing: promised, and perhaps there in part, under a name that no reader looks for. deleting: being taken away.
    state          text not null check (state in ('writing', 'complete', 'deleting')),
    started_at     timestamptz not null default now(),
    -- From here on null until it is complete. Everything that was committed before lsn is in it.
    taken_at       timestamptz,
    lsn            pg_lsn,
    schema_version integer,
    rows           bigint,
    -- Of text, before it was compressed; and in the store.
    bytes          bigint,
    stored_bytes   bigint,
    duration_ms    bigint,
    -- Rows, bytes and checksum of each table.
    tables         jsonb,
    -- The master key that wrapped the data key of which the backup holds a copy: needed for as long as the backup is.
    master_key     text,
    -- When it was last read back as a whole and compared.
    verified_at    timestamptz,
    check ((state = 'writing') = (taken_at is null) or state = 'deleting')
);
create index backups_by_tenant on backups (tenant_id, taken_at desc);
-- One at a time: whoever comes after a kill goes on with that one.
create unique index backups_one_open on backups (tenant_id) where state = 'writing';

-- What a restore in place has replaced: kept aside in the tenant's database for a while, so that the restore can be taken back.
create table replaced_schemas (
    tenant_id  integer primary key references tenants,
    schema     text not null,
    kept_until timestamptz not null
);
create index replaced_schemas_over on replaced_schemas (kept_until);

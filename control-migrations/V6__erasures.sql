-- Erasure: a tenant is dropped everywhere, its data key destroyed, and what was proven about it signed.

-- erasing: nothing is left that can be reached, but physical copies made before may still hold it.
-- erased: those have expired too.
alter table tenants drop constraint tenants_states;
alter table tenants add constraint tenants_states
    check (state in ('provisioning', 'active', 'suspended', 'deleted', 'erasing', 'erased'));

-- Backups and WAL archives that are kept outside of Strowger, as the operator says. An erasure names each with the day
-- on which it no longer holds the tenant. A null cluster is the control database.
create table physical_copies (
    id         integer generated always as identity primary key,
    cluster_id integer references clusters on delete cascade,
    kind       text not null check (kind in ('backup', 'wal-archive')),
    location   text not null check (length(location) between 1 and 500),
    -- How long anything is kept there.
    kept_s     bigint not null check (kept_s > 0),
    unique nulls not distinct (cluster_id, kind, location)
);

-- One row a tenant that was erased. Never changed.
create table erasures (
    tenant_id    integer primary key references tenants,
    erased_at    timestamptz not null,
    erased_by    text not null,
    -- When the last physical copy that may hold the tenant has expired; null when none was registered.
    copies_until timestamptz,
    -- One line of JSON, exactly as signed, with what was looked at and found gone.
    receipt      text not null,
    signature    bytea not null
);

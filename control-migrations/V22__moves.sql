-- Tenants that move to another cluster, and where they lived before.

-- While a tenant's data is carried over nothing is written to it: servers refuse, and Postgres itself.
alter table placements add column held boolean not null default false;

-- One other place a tenant: where it is being made, or where it lived and what it had is kept shut for a while.
create table moves (
    tenant_id       integer primary key references tenants,
    -- open: it is on its way there. kept: it has left.
    state           text not null check (state in ('open', 'kept')),
    cluster_id      integer not null references clusters,
    isolation       text not null check (isolation in ('schema', 'database')),
    database        text not null,
    -- What is to log in there, sealed under the tenant's data key. Nothing logs in where it has left.
    login           text,
    sealed_password bytea,
    kept_until      timestamptz,
    check ((state = 'open') = (login is not null)),
    check ((state = 'open') = (sealed_password is not null)),
    check ((state = 'kept') = (kept_until is not null))
);
create index moves_by_cluster on moves (cluster_id);

-- Moves that copy before they hold and catch up after, by Postgres's own logical replication.

-- A login on a cluster that may make replication slots and subscriptions, sealed under the provisioner's ring. On Postgres 15 that takes a
-- superuser, so a cluster has none unless an operator wants it: without one tenants move with --offline.
create table cluster_replicators (
    cluster_id      integer primary key references clusters,
    login           text not null,
    sealed_password bytea not null
);

-- Held for a moment only: servers let a write wait for the turn and do not refuse it.
alter table placements add column turns_soon boolean not null default false;
alter table placements add constraint placements_turn_held check (held or not turns_soon);

-- Whether a slot, a publication or a subscription of the move may be there; noted before the first is made, taken off after the last is gone.
alter table moves add column replicates boolean not null default false;
-- How long nothing was written when the tenant left here.
alter table moves add column held_ms bigint;

-- Clusters whose write-ahead log is archived, so that one tenant can be brought back as it was at any moment.

create table archives (
    cluster_id  integer primary key references clusters on delete cascade,
    -- What pgBackRest calls the cluster, and its file of settings on the machine where restores are made.
    stanza      text not null,
    config      text not null,
    -- Where clusters are restored aside, each in a folder of its own.
    aside       text not null,
    -- Where base backups and log lie, what they are encrypted with (sealed under the provisioner's ring), and how long they are kept. Null:
    -- an operator's own, made and kept without us.
    repo        text,
    sealed_pass bytea,
    kept_days   integer check (kept_days > 0),
    created_at  timestamptz not null default now(),
    check (num_nulls(repo, sealed_pass, kept_days) in (0, 3))
);

-- The moment that a backup was wanted of, for one that was taken out of an archive; null: it was taken when it was made.
alter table backups add column moment timestamptz;

-- As before, but a backup of the past says nothing of when the next is due.
create or replace view scheduled_backups as
select t.id as tenant_id, p.cluster_id, s.tenant_id is not null as own, s.every_s,
       s.keep_daily, s.keep_weekly, s.keep_monthly, last.at as last_at,
       case
           when s.first_at is null
               then greatest(last.at + s.every_s * interval '1 second', base.at)
           else s.first_at
               + (floor(extract(epoch from greatest(last.at, base.at) - s.first_at) / s.every_s) + 1)
                 * s.every_s * interval '1 second'
       end as due_at
from tenants t
join placements p on p.tenant_id = t.id
cross join lateral (
    select * from backup_schedules s
    where s.tenant_id = t.id or s.tenant_id is null
    order by s.tenant_id nulls last limit 1) s
cross join lateral (select greatest(s.created_at, t.created_at) as at) base
cross join lateral (
    select max(greatest(b.taken_at, b.started_at)) as at from backups b
    where b.tenant_id = t.id and b.state = 'complete' and b.moment is null) last
where t.state in ('active', 'read_only', 'suspended');

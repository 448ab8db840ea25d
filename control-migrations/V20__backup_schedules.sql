-- Which tenants are backed up without being asked for, how often, and what is kept of that.

create table backup_schedules (
    -- Null: every tenant that has no schedule of its own.
    tenant_id    integer unique nulls not distinct references tenants,
    every_s      bigint not null check (every_s between 60 and 31536000),
    -- The first time of day that was wanted; the others are whole intervals away from it. Null: when the last backup is that old.
    first_at     timestamptz,
    -- What is kept after each, as prune has it. All null: everything.
    keep_daily   integer check (keep_daily >= 0),
    keep_weekly  integer check (keep_weekly >= 0),
    keep_monthly integer check (keep_monthly >= 0),
    created_at   timestamptz not null default now(),
    check (num_nulls(keep_daily, keep_weekly, keep_monthly) in (0, 3))
);

-- Each tenant that a schedule covers, its last good backup, and when the next is due. That follows from the last good one alone,
-- so however many were missed, one catches up. Nothing is due before the schedule and the tenant were there. A deleted tenant is on
-- its way out and has none made.
create view scheduled_backups as
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
-- A backup that was begun long ago and killed is as new as its snapshot; a cluster's clock that is behind makes none older than its promise.
cross join lateral (
    select max(greatest(b.taken_at, b.started_at)) as at from backups b
    where b.tenant_id = t.id and b.state = 'complete') last
where t.state in ('active', 'read_only', 'suspended');

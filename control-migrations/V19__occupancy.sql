-- How many tenants each cluster holds, counted as they come and go: placing one costs the same among ten as among ten thousand.

create table occupancy (
    cluster_id integer primary key references clusters on delete cascade,
    -- Tenants that live there, in whatever state.
    kept       integer not null default 0 check (kept >= 0),
    -- Those of them that are deleted and in their grace: their relations are there, their connections are not.
    deleted    integer not null default 0 check (deleted between 0 and kept)
);

insert into occupancy (cluster_id, kept, deleted)
select p.cluster_id, count(*), count(*) filter (where t.state = 'deleted')
from placements p join tenants t on t.id = p.tenant_id
group by p.cluster_id;

-- Whatever changes a placement or a state changes the count with it.
create function count_placement() returns trigger
    language plpgsql
as $$
begin
    if tg_op <> 'INSERT' then
        update occupancy o
        set kept = o.kept - 1, deleted = o.deleted - (t.state = 'deleted')::int
        from tenants t
        where o.cluster_id = old.cluster_id and t.id = old.tenant_id;
    end if;
    if tg_op <> 'DELETE' then
        insert into occupancy as o (cluster_id, kept, deleted)
        select new.cluster_id, 1, (t.state = 'deleted')::int from tenants t where t.id = new.tenant_id
        on conflict (cluster_id) do update set kept = o.kept + 1, deleted = o.deleted + excluded.deleted;
    end if;
    return null;
end;
$$;

create trigger count after insert or delete or update of cluster_id on placements
    for each row execute function count_placement();

create function count_state() returns trigger
    language plpgsql
as $$
begin
    update occupancy o
    set deleted = o.deleted + (new.state = 'deleted')::int - (old.state = 'deleted')::int
    from placements p
    where p.tenant_id = new.id and o.cluster_id = p.cluster_id;
    return null;
end;
$$;

create trigger count after update of state on tenants
    for each row when ((new.state = 'deleted') <> (old.state = 'deleted')) execute function count_state();

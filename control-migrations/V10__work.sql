-- Durable work of the server: what was promised by an acknowledgement and is done after it.

-- One promise. It is written before the acknowledgement, so a server that is killed loses none, and it is unique by what it came
-- from, so a provider that repeats itself adds none.
create table work_items (
    id         bigint generated always as identity primary key,
    tenant_id  integer not null references tenants,
    kind       text not null check (length(kind) between 1 and 50),
    -- The provider's id of what is to be worked on (a call, a message): never words of a caller.
    source_id  text not null check (length(source_id) between 1 and 200),
    -- What to do, under the tenant's own data key; gone once it is done.
    sealed     bytea,
    -- queued -> leased -> done; back to queued after a failure; dead when it cannot succeed, until an operator retries it.
    state      text not null default 'queued' check (state in ('queued', 'leased', 'done', 'dead')),
    -- Counted when it is claimed, so that an item that kills its server comes to an end too.
    attempts   integer not null default 0,
    -- When it may be claimed; of a leased one, when its lease ends and another may claim it.
    not_before timestamptz not null default now(),
    -- The server that has the lease: nobody else may say how it ended.
    holder     text,
    -- Why it last failed. An error's name, never its subject's words.
    reason     text,
    created_at timestamptz not null default now(),
    ended_at   timestamptz,
    unique (tenant_id, kind, source_id),
    check ((state = 'leased') = (holder is not null)),
    check ((state in ('done', 'dead')) = (ended_at is not null)),
    check ((state = 'done') = (sealed is null))
);
-- Whose work is due, and which of it first.
create index work_items_due on work_items (tenant_id, not_before, id) where state in ('queued', 'leased');
create index work_items_ended on work_items (ended_at) where state = 'done';

-- Whose turn it is. The tenant that was served longest ago is served next, whatever another one piles up.
create table work_turns (
    tenant_id integer primary key references tenants,
    served_at timestamptz not null default '-infinity',
    -- When its outbox was last looked into: what was promised while this database was away stands there.
    swept_at  timestamptz not null default '-infinity'
);

create trigger announce after insert or update of state on work_items
    for each row when (new.state = 'queued') execute function announce('work');

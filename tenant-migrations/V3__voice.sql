-- What was promised while the control database was away: it waits here, in the tenant's own schema, until a server carries
-- it over to the control database's queue. Taken from here only after it stands there.
create table outbox (
    kind       text not null,
    -- The provider's id of what it came from: said twice, it is promised once.
    source_id  text not null,
    payload    jsonb not null,
    created_at timestamptz not null default now(),
    primary key (kind, source_id)
);

-- Which tenant this schema belongs to. Every new connection reads it before it is used.
create table identity (
    one_row   boolean primary key default true check (one_row),
    tenant_id integer not null check (tenant_id > 0),
    -- Changes only when the data moves; control holds the same value.
    epoch     integer not null
);

-- The mirror of this tenant's numbers. Only the provisioner writes it. A call is answered only if its dialled
-- number stands here, so a server with an old cache is refused by the database itself.
create table numbers (
    kind  text not null check (kind in ('phone', 'whatsapp')),
    value text not null,
    primary key (kind, value)
);

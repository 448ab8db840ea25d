-- The audit log as chains: one for the platform (0), one for each tenant (its id). A row's hash covers the hash before
-- it and every one of its columns, so a row that was changed, removed, added or moved no longer fits its neighbours.

-- Where each chain ends. Who appends to a chain holds its row here until the commit, so a chain has no gaps and no forks.
create table audit_heads (
    chain integer primary key,
    seq   bigint not null,
    hash  bytea not null
);

alter table audit
    add column chain    integer,
    -- 1, 2, 3 … in each chain.
    add column seq      bigint,
    -- The hash of the row before, 32 zero bytes before the first; kept, so that each row can be judged by itself.
    add column previous bytea,
    add column hash     bytea;

-- A length before each field, so that two different rows never encode the same.
create function audit_field(value text) returns bytea language sql immutable
    return int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8');

-- provisioner/src/audit/hash.rs says the same in Rust; audit verify holds one against the other.
create function audit_hash(entry audit) returns bytea language sql immutable
    return sha256(
        entry.previous
        || audit_field('strowger audit 1')
        || audit_field(entry.chain::text)
        || audit_field(entry.seq::text)
        || audit_field(entry.id::text)
        || audit_field((extract(epoch from entry.at) * 1000000)::bigint::text)
        || audit_field(entry.actor)
        || audit_field(entry.action)
        || audit_field(coalesce(entry.tenant_id::text, ''))
        || audit_field(entry.detail::text));

-- Gives a new row its place. It belongs, with both tables, to a role that nobody logs in as (bootstrap/control.rs):
-- whoever may insert is chained by it and can neither change it nor reach the heads.
create function audit_append() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Others wait for whoever holds a head: one that falls silent before its commit is ended.
    perform set_config('idle_in_transaction_session_timeout', '10s', true);
    new.chain := coalesce(new.tenant_id, 0);
    insert into public.audit_heads as head (chain, seq, hash) values (new.chain, 1, decode(repeat('00', 32), 'hex'))
    on conflict (chain) do update set seq = head.seq + 1
    returning head.seq, head.hash into new.seq, new.previous;
    new.at := clock_timestamp();
    new.hash := public.audit_hash(new);
    update public.audit_heads set hash = new.hash where chain = new.chain;
    return new;
end;
$$;

-- The rows that are there already, in the order in which they came.
do $$
declare
    old audit;
begin
    for old in select * from audit order by coalesce(tenant_id, 0), id loop
        old.chain := coalesce(old.tenant_id, 0);
        insert into audit_heads as head (chain, seq, hash) values (old.chain, 1, decode(repeat('00', 32), 'hex'))
        on conflict (chain) do update set seq = head.seq + 1
        returning head.seq, head.hash into old.seq, old.previous;
        old.hash := audit_hash(old);
        update audit_heads set hash = old.hash where chain = old.chain;
        update audit set chain = old.chain, seq = old.seq, previous = old.previous, hash = old.hash where id = old.id;
    end loop;
end;
$$;

alter table audit
    alter column chain    set not null,
    alter column seq      set not null,
    alter column previous set not null,
    alter column hash     set not null,
    add constraint audit_place unique (chain, seq);

create trigger append before insert on audit for each row execute function audit_append();

-- Exactly one row: the Ed25519 key that signs exported heads.
create table audit_key (
    one_row        boolean primary key default true check (one_row),
    public_key     bytea not null,
    -- PKCS#8 under the provisioner's ring.
    sealed_private bytea not null,
    created_at     timestamptz not null default now()
);

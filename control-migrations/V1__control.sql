-- The control database: which businesses exist, where each one lives, which numbers reach it, and who did what.
-- It holds no conversation of any tenant. Secrets in it are sealed by the vault; the keys are elsewhere.

-- Exactly one row: which installation this is. Role and database names on every cluster begin with the prefix,
-- because roles are cluster-wide and two installations may share a server.
create table installation (
    one_row    boolean primary key default true check (one_row),
    prefix     text not null check (prefix ~ '^[a-z][a-z0-9_]{0,19}$'),
    -- The iss and aud that every service token must carry.
    token_issuer   text not null default 'strowger',
    token_audience text not null default 'strowger',
    created_at timestamptz not null default now()
);

-- What every tenant inherits unless it says otherwise.
create table platform_settings (
    name  text primary key,
    value text not null
);
insert into platform_settings (name, value)
values ('suspended_sentence', 'We are sorry, this number cannot take calls at the moment. Please try again later.');

-- One Postgres server, or a highly available group behind one multi-host address.
create table clusters (
    id              integer generated always as identity primary key,
    name            text not null unique check (name ~ '^[a-z][a-z0-9-]{0,30}$'),
    -- shared: many tenants' schemas in one database. dedicated: a database for each tenant.
    kind            text not null check (kind in ('shared', 'dedicated')),
    region          text not null default '',
    host            text not null,
    port            integer not null check (port between 1 and 65535),
    tls             text not null check (tls in ('disable', 'verify-full')),
    -- PEM of the authority that signed the server's certificate; null means the public ones.
    tls_ca          text,
    -- What all instances of the server together may hold open here for tenants.
    connection_budget integer not null check (connection_budget > 0),
    created_at      timestamptz not null default now()
);

-- Apart from clusters, so that the server's role can be kept from it by a grant.
create table cluster_admins (
    cluster_id      integer primary key references clusters,
    login           text not null,
    -- Sealed under the provisioner's ring: the server could not open it even if it read it.
    sealed_password bytea not null
);

-- One business. Rows are never deleted and ids never reused: an old token, backup or log line keeps its meaning.
create table tenants (
    id           integer primary key check (id > 0),
    -- The operator's handle; unique so that a create that is run again finds what the first run left.
    name         text not null unique check (length(name) between 1 and 200),
    -- Default region of local phone numbers, as in ISO 3166 (US, KE).
    region       text not null check (region ~ '^[A-Z]{2}$'),
    state        text not null check (state in ('provisioning', 'active', 'suspended', 'deleted')),
    state_reason text not null default '',
    created_at   timestamptz not null default now()
);

-- Where a tenant lives now. The generation counts placement and credential changes and only ever grows.
create table placements (
    tenant_id       integer primary key references tenants,
    cluster_id      integer not null references clusters,
    isolation       text not null check (isolation in ('schema', 'database')),
    database        text not null,
    schema          text not null,
    login           text not null,
    sealed_password bytea not null,
    -- Matches the identity row in the tenant's schema; changes only when data moves.
    epoch           integer not null default 1,
    generation      bigint not null default 1
);
create index placements_by_cluster on placements (cluster_id);

-- Data keys, wrapped by a master key of a ring that is not in this database. A null tenant is the platform.
create table data_keys (
    tenant_id integer references tenants,
    ring      text not null check (ring in ('server', 'admin')),
    version   integer not null check (version > 0),
    wrapped   bytea not null,
    unique nulls not distinct (tenant_id, ring, version)
);

-- Accounts at providers. The external id is plain text because a webhook names it before it has proven anything.
create table accounts (
    provider      text not null check (provider in ('twilio')),
    external_id   text not null,
    -- Null: the platform's own account, which may serve many tenants.
    tenant_id     integer references tenants,
    sealed_secret bytea not null,
    created_at    timestamptz not null default now(),
    primary key (provider, external_id)
);
create index accounts_by_tenant on accounts (tenant_id);

-- Where callers reach a tenant. While state is 'moving' the number is being taken from one tenant and given to
-- the next, and nobody answers it: next_tenant_id says who will.
create table numbers (
    kind           text not null check (kind in ('phone', 'whatsapp')),
    value          text not null,
    provider       text not null,
    account_id     text not null,
    tenant_id      integer references tenants,
    next_tenant_id integer references tenants,
    state          text not null check (state in ('active', 'moving', 'released')),
    primary key (kind, value),
    foreign key (provider, account_id) references accounts (provider, external_id),
    check (kind <> 'phone' or value ~ '^\+[1-9][0-9]{6,14}$'),
    check (state <> 'active' or (tenant_id is not null and next_tenant_id is null)),
    check (state <> 'released' or (tenant_id is null and next_tenant_id is null))
);
create index numbers_by_tenant on numbers (tenant_id);

-- A tenant's own secrets (provider keys), and the platform's, by name.
create table secrets (
    tenant_id integer references tenants,
    name      text not null check (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
    sealed    bytea not null,
    set_at    timestamptz not null default now(),
    unique nulls not distinct (tenant_id, name)
);

-- Keys that sign service tokens. The server verifies; only the provisioner can open what signs.
create table signing_keys (
    kid            text primary key check (kid ~ '^[A-Za-z0-9._-]{1,64}$'),
    algorithm      text not null check (algorithm in ('HS256', 'EdDSA')),
    public_key     bytea,
    -- HS256 only: the shared secret, for the server.
    sealed_secret  bytea,
    -- EdDSA only: the private key, under the provisioner's ring.
    sealed_private bytea,
    state          text not null default 'active' check (state in ('active', 'retired')),
    created_at     timestamptz not null default now(),
    check ((algorithm = 'EdDSA') = (public_key is not null and sealed_private is not null)),
    check ((algorithm = 'HS256') = (sealed_secret is not null))
);

-- The provisioner's long work. At most one open job of a kind for a tenant.
create table jobs (
    id         bigint generated always as identity primary key,
    kind       text not null check (kind in ('create', 'repair')),
    tenant_id  integer not null references tenants,
    state      text not null default 'queued' check (state in ('queued', 'done', 'failed')),
    attempts   integer not null default 0,
    not_before timestamptz not null default now(),
    error      text,
    created_at timestamptz not null default now(),
    ended_at   timestamptz
);
create unique index jobs_one_open on jobs (kind, tenant_id) where state = 'queued';

-- Every control action, written by the transaction that made the change.
create table audit (
    id        bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    actor     text not null,
    action    text not null,
    tenant_id integer,
    detail    jsonb not null default '{}'
);
create index audit_by_tenant on audit (tenant_id, id);

-- An instance writes a row here when it has acted on every change announced before the ping.
create table acknowledgements (
    ping     uuid not null,
    instance text not null,
    at       timestamptz not null default now(),
    primary key (ping, instance)
);

-- The one job the internet-facing server may ask for: it harms nobody when asked for without need.
create function request_repair(wanted integer) returns void
    language sql security definer set search_path = public
as $$
    insert into jobs (kind, tenant_id)
    select 'repair', t.id from tenants t where t.id = wanted and t.state = 'active'
    on conflict do nothing;
$$;
revoke execute on function request_repair(integer) from public;

-- Announce every change that a running server may have cached: the trigger's first argument, then the named columns.
-- Delivery is in commit order.
create function announce() returns trigger language plpgsql as $$
declare
    changed jsonb := to_jsonb(case tg_op when 'DELETE' then old else new end);
    news    text  := tg_argv[0];
begin
    for i in 1 .. tg_nargs - 1 loop
        news := news || ' ' || (changed ->> tg_argv[i]);
    end loop;
    perform pg_notify('strowger_changes', news);
    return null;
end;
$$;
create trigger announce after insert or update or delete on tenants
    for each row execute function announce('tenant', 'id');
create trigger announce after insert or update or delete on placements
    for each row execute function announce('tenant', 'tenant_id');
create trigger announce after insert or update or delete on numbers
    for each row execute function announce('number', 'kind', 'value');
create trigger announce after insert or update or delete on accounts
    for each row execute function announce('account', 'provider', 'external_id');
create trigger announce after insert or update or delete on signing_keys
    for each row execute function announce('key', 'kid');
create trigger announce after update on clusters
    for each row execute function announce('everything');
create trigger announce after insert or update or delete on platform_settings
    for each row execute function announce('everything');
create trigger announce after insert on jobs
    for each row execute function announce('job');

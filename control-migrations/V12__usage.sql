-- The AI model: where each tenant's is, what it may cost, and what it was used for, with whose key.

-- One row a tenant that says something of its own; the row without a tenant is the platform's, which speaks where the tenant's
-- is silent. Base URLs are set by an operator only: whoever could choose one could make the server call anything it reaches.
create table models (
    tenant_id       integer references tenants,
    -- With its own base URL a tenant is served with its own key only: the platform's key goes to the platform's URL alone.
    base_url        text check (base_url ~ '^https?://'),
    chat_model      text check (length(chat_model) between 1 and 200),
    embedding_model text check (length(embedding_model) between 1 and 200),
    -- Whether callers' words may go to the model; nobody's do unless somebody said so.
    allowed         boolean,
    tokens_per_day  bigint check (tokens_per_day >= 0),
    set_at          timestamptz not null default now(),
    unique nulls not distinct (tenant_id)
);

-- Servers cache what is said here, and which key there is. A change of the platform's row has no tenant to name: the news
-- is then empty, which means that anything may have changed.
create trigger announce after insert or update or delete on models
    for each row execute function announce('model', 'tenant_id');
create trigger announce after insert or update or delete on secrets
    for each row execute function announce('model', 'tenant_id');

-- What a tenant has spent in a UTC day, reservations of calls under way among it: all servers count here, before they call.
-- A reservation whose server was killed stays counted for its day.
create table token_budgets (
    tenant_id integer not null references tenants,
    day       date not null,
    spent     bigint not null check (spent >= 0),
    primary key (tenant_id, day)
);

-- What calls to the model came to, as the provider counts.
create table usage (
    tenant_id         integer not null references tenants,
    day               date not null,
    purpose           text not null check (purpose in ('turn', 'summary', 'embedding', 'reply')),
    -- Whose key: the tenant pays its provider itself, or the platform pays for it.
    paid_by           text not null check (paid_by in ('tenant', 'platform')),
    model             text not null,
    calls             bigint not null check (calls > 0),
    prompt_tokens     bigint not null check (prompt_tokens >= 0),
    completion_tokens bigint not null check (completion_tokens >= 0),
    primary key (tenant_id, day, purpose, paid_by, model)
);
create index usage_by_day on usage (day);

-- What a receptionist needs to greet, remember and account for a call. No table carries a tenant's id:
-- the connection is the tenant. user_id is the caller key everywhere (E.164, or wa:<id>).

-- One row: how this tenant's receptionist introduces itself.
create table settings (
    one_row    boolean primary key default true check (one_row),
    agent_name text not null default 'your assistant',
    -- {agent_name} and {caller_name} are filled in; the second form is used when the caller's name is known.
    greeting             text not null default 'Hello, this is {agent_name}. How can I help you?',
    greeting_known       text not null default 'Hello {caller_name}, this is {agent_name}. How can I help you today?',
    language   text not null default 'en-US',
    voice      text not null default '',
    updated_at timestamptz not null default now()
);
insert into settings default values;

-- What is known about one caller. fields holds what the tenant's industry template asks for.
create table caller_profiles (
    user_id    text primary key,
    name       text,
    quick_bio  text not null default '',
    fields     jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- Facts worth remembering about a caller. A memory with a key replaces the one before it.
create table memories (
    id         uuid primary key default gen_random_uuid(),
    user_id    text not null,
    type       text not null default 'general',
    key        text,
    content    text not null,
    created_at timestamptz not null default clock_timestamp(),
    words      tsvector generated always as (to_tsvector('simple'::regconfig, left(content, 100000))) stored,
    unique (user_id, type, key)
);
create index memories_newest on memories (user_id, created_at desc, id desc);
create index memories_words on memories using gin (words);

-- One row a call, whatever order the provider's callbacks arrive in.
create table calls (
    call_sid         text primary key,
    user_id          text,
    number           text not null,
    status           text not null,
    -- The highest callback number seen; an older callback changes nothing. -1: none yet.
    last_sequence    integer not null default -1,
    duration_seconds integer,
    started_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now()
);
create index calls_by_caller on calls (user_id, started_at desc);

-- What a finished call was about.
create table call_summaries (
    id         uuid primary key default gen_random_uuid(),
    user_id    text not null,
    call_sid   text unique,
    summary    text not null,
    key_topics text[] not null default '{}',
    variables  jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp()
);
create index call_summaries_newest on call_summaries (user_id, created_at desc, id desc);

-- How a caller came across in one call, and on average over all of them.
create table personality_metrics (
    id         uuid primary key default gen_random_uuid(),
    user_id    text not null,
    metrics    jsonb not null,
    created_at timestamptz not null default clock_timestamp()
);
create index personality_metrics_newest on personality_metrics (user_id, created_at desc);

create table personality_averages (
    user_id    text primary key,
    averages   jsonb not null,
    calls      integer not null,
    updated_at timestamptz not null default now()
);

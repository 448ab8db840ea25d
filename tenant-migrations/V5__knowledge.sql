-- What a tenant's receptionist can answer without a model: its own questions, and what it cloned from a playbook.

-- Changes with every change to what is answered, in the same transaction. A server compares it with what it has prepared.
-- It is random and not counted: a restored copy must not meet a number that other content has had.
create table knowledge_version (
    one_row boolean primary key default true check (one_row),
    version uuid not null default gen_random_uuid()
);
insert into knowledge_version default values;

-- The tenant's own questions and answers, asked before any scenario. variants are other ways to ask.
create table knowledge (
    id         uuid primary key default gen_random_uuid(),
    question   text not null,
    variants   text[] not null default '{}',
    answer     text not null,
    category   text not null default '',
    -- The higher one is given where two fit equally well.
    priority   integer not null default 0,
    enabled    boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- What callers may want, how they say it and what they hear. key names an inherited one in its playbook, so that an update
-- finds it whatever the tenant has made of the rest; edited says that the tenant has.
create table scenarios (
    id         uuid primary key default gen_random_uuid(),
    key        text not null unique,
    name       text not null,
    category   text not null default '',
    phrases    text[] not null,
    -- The first whose variables are all defined is said.
    replies    text[] not null,
    follow_up  text,
    behavior   text,
    hook       text not null default 'none'
               check (hook in ('none', 'escalate', 'offer_scheduling', 'take_message', 'hang_up')),
    priority   integer not null default 0,
    enabled    boolean not null default true,
    origin     text not null default 'custom' check (origin in ('inherited', 'custom')),
    edited     boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- Words that mean nothing. One that is inherited and custom has two rows: an update takes away only its own.
create table fillers (
    word   text not null,
    origin text not null default 'custom' check (origin in ('inherited', 'custom')),
    primary key (word, origin)
);

-- Words that make a call urgent. Where a word has two rows the tenant's own weight holds.
create table urgency (
    word   text not null,
    weight double precision not null check (weight between 0 and 1),
    origin text not null default 'custom' check (origin in ('inherited', 'custom')),
    primary key (word, origin)
);

-- What replies are filled with. value is null until the tenant sets one; then default_value is used, if there is one.
create table variables (
    name          text primary key check (name ~ '^[A-Za-z][A-Za-z0-9_]{0,63}$'),
    label         text not null default '',
    kind          text not null default 'text' check (kind in ('text', 'number', 'phone', 'url', 'email')),
    required      boolean not null default false,
    default_value text,
    value         text,
    origin        text not null default 'custom' check (origin in ('inherited', 'custom')),
    updated_at    timestamptz not null default now()
);

-- The playbook this tenant cloned, no row before that. content is what it said then: an update compares it with the playbook's
-- newer version and with what the tenant has made of it.
create table cloned_from (
    one_row     boolean primary key default true check (one_row),
    template_id text not null,
    version     integer not null check (version > 0),
    content     jsonb not null,
    cloned_at   timestamptz not null default now()
);

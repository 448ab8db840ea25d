-- What is said in a call, turn by turn, and what a caller asks to be passed on.

-- One row a turn: what the caller said and what was answered. The greeting comes before the first. Any server can take the next turn, since
-- where the conversation stands is in its last row; and a turn that the provider sends twice finds its row and is answered the same.
create table call_turns (
    call_sid   text not null references calls on delete cascade,
    turn       integer not null check (turn > 0),
    -- Who called, as in the call's own row: a person's words are found and erased by it.
    user_id    text,
    -- What reached us: words, keys, silence, or how the call to a person ended.
    heard_kind text not null check (heard_kind in ('nothing', 'said', 'pressed', 'dialled')),
    heard      text not null default '',
    -- What was said back.
    reply      text not null,
    -- Where the answer came from, and how sure it was.
    source     text not null check (source in ('knowledge', 'scenario', 'model', 'fallback', 'script')),
    source_id  uuid,
    score      double precision,
    -- What the provider was told to do next.
    next       text not null check (next in ('listen', 'dial', 'hang_up')),
    -- What the caller's next words are: a question, a message for the business, or a time that would suit.
    awaits     text not null check (awaits in ('question', 'message', 'time')),
    -- How often in a row nothing was heard.
    silences   smallint not null default 0,
    at         timestamptz not null default clock_timestamp(),
    primary key (call_sid, turn)
);
create index call_turns_by_caller on call_turns (user_id) where user_id is not null;

-- What callers left for the people of the business. Written with the turn in which it was said, so never twice.
create table messages (
    id         uuid primary key default gen_random_uuid(),
    call_sid   text not null,
    turn       integer not null,
    user_id    text,
    kind       text not null check (kind in ('message', 'appointment')),
    content    text not null,
    created_at timestamptz not null default clock_timestamp(),
    unique (call_sid, turn),
    foreign key (call_sid, turn) references call_turns on delete cascade
);
create index messages_newest on messages (created_at desc, id desc);
create index messages_by_caller on messages (user_id, created_at desc);

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

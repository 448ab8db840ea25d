-- What processing a finished call leaves, and vectors beside memories.

-- What a memory is about, as a vector of one model: the server's static word vectors, or the tenant's own model.
create table memory_vectors (
    memory_id uuid primary key references memories (id) on delete cascade,
    -- Names all that makes vectors comparable; those of two models never are.
    model     text not null,
    dimension integer not null check (dimension between 1 and 4096),
    -- 4-byte floats, little endian: a search reads thousands, and a real[] costs several times as much to send and to read.
    vector    bytea not null check (octet_length(vector) = 4 * dimension),
    -- The memory's created_at when this was made: a memory that was replaced since has no vector until it gets its own.
    made_of   timestamptz not null
);
-- Floats do not compress.
alter table memory_vectors alter column vector set storage external;

-- extractive: sentences that were said, chosen by counting. model: written by the tenant's model. record: what was said is not
-- on record, and the call's own row is all there is; it gives way to one of the others.
alter table call_summaries
    add column source       text not null default 'extractive' check (source in ('extractive', 'model', 'record')),
    add column thread_id    text,
    -- SHA-256 of thread and conversation, where no call_sid says which call it was: the same words are not processed twice.
    add column history_hash bytea unique check (octet_length(history_hash) = 32);

-- One measurement for one processed call: a call that is sent again does not count again.
alter table personality_metrics
    add column summary_id uuid unique references call_summaries (id) on delete cascade;
drop index personality_metrics_newest;
create index personality_metrics_newest on personality_metrics (user_id, created_at desc, id desc);

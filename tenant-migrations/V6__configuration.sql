-- How this tenant's receptionist is configured, version by version. The newest row is in force: each call reads it, so a
-- change is effective on the next call, whichever server takes it. Rows are only ever added; that is the record of who
-- changed what.
create table configurations (
    version    integer primary key check (version > 0),
    -- A whole configuration; the server knows what may stand in it.
    content    jsonb not null check (jsonb_typeof(content) = 'object'),
    created_at timestamptz not null default clock_timestamp(),
    -- A token's id and its key's, or an operator.
    created_by text not null check (length(created_by) between 1 and 200)
);

-- What was said before there were versions is the first one.
insert into configurations (version, content, created_at, created_by)
select 1, to_jsonb(s) - 'one_row' - 'updated_at', updated_at, 'migration' from settings s;
drop table settings;

-- Playbooks: what a trade's receptionists answer, written once, cloned by tenants into their own schemas. Never any tenant's data:
-- who cloned what stands in the tenants' own schemas.

-- One version of one playbook. The newest may be a draft, which every import replaces; publishing it ends that.
create table playbooks (
    name         text not null check (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    version      integer not null check (version > 0),
    -- For people who choose one.
    about        text not null default '',
    -- The file as its author wrote it.
    authored     text not null check (length(authored) between 1 and 1048576),
    -- What tenants clone, made of the file.
    content      jsonb not null,
    imported_at  timestamptz not null default now(),
    -- Null: a draft, which nobody but operators reads.
    published_at timestamptz,
    primary key (name, version)
);

-- There is one next version at a time.
create unique index playbooks_one_draft on playbooks (name) where published_at is null;

-- An update compares a tenant's clone with what the version it cloned said, on whatever day: it must say the same for ever.
create function playbook_is_kept() returns trigger language plpgsql as $$
begin
    if old.published_at is not null then
        raise exception 'playbook % version % is published and does not change: import a next version', old.name, old.version
            using errcode = 'restrict_violation';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end;
$$;
create trigger is_kept before update or delete on playbooks
    for each row execute function playbook_is_kept();

-- What servers may read.
create view published_playbooks as
    select name, version, about, content from playbooks where published_at is not null;

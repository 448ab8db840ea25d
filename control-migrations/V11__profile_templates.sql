-- Profile templates: which facts a trade keeps of a caller, and how a line about the caller is made of them.

-- One version of one template. `insurance_v1` on the wire is name and version together.
create table profile_templates (
    name          text not null check (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    version       integer not null check (version between 1 and 9999),
    -- The file as its author wrote it: shorthand, or a JSON Schema. What servers read; everything else is made of it.
    authored      text not null check (length(authored) between 1 and 65536),
    -- The fields as a JSON Schema without references, and the quick-bio rule: for whoever reads this table with psql.
    schema        jsonb not null,
    bio           jsonb not null,
    created_at    timestamptz not null default now(),
    -- Set when the first tenant is bound to it. From then on the row never changes and never goes.
    first_used_at timestamptz,
    primary key (name, version)
);

-- Which version a tenant's callers are held to. A tenant without a row keeps what fields it likes.
create table tenant_profiles (
    tenant_id        integer primary key references tenants,
    template_name    text not null,
    template_version integer not null,
    bound_at         timestamptz not null default now(),
    foreign key (template_name, template_version) references profile_templates (name, version)
);

-- Callers were validated against what a used template says: it must say the same for ever.
create function profile_template_is_kept() returns trigger language plpgsql as $$
begin
    if old.first_used_at is not null then
        raise exception 'profile template %_v% is in use and does not change: import a next version', old.name, old.version
            using errcode = 'restrict_violation';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end;
$$;
create trigger is_kept before update or delete on profile_templates
    for each row execute function profile_template_is_kept();

-- Binding is use, whoever binds.
create function profile_template_is_used() returns trigger language plpgsql as $$
begin
    update profile_templates set first_used_at = now()
    where name = new.template_name and version = new.template_version and first_used_at is null;
    return null;
end;
$$;
create trigger is_used after insert or update on tenant_profiles
    for each row execute function profile_template_is_used();

-- Servers keep a tenant's binding with its route, and templates in use for as long as they like.
create trigger announce after insert or update or delete on tenant_profiles
    for each row execute function announce('tenant', 'tenant_id');

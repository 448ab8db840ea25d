-- Read-only tenants, and states that end by themselves.

alter table tenants drop constraint tenants_states;
alter table tenants
    add constraint tenants_states
        check (state in ('provisioning', 'active', 'read_only', 'suspended', 'deleted', 'erasing', 'erased')),
    -- When the state ends and the tenant is served again in full; null: when an operator says so.
    add column state_until timestamptz;

-- As before, and a read-only tenant is repaired too.
create or replace function request_job(wanted text, tenant integer) returns void
    language plpgsql security definer set search_path = public
as $$
begin
    if wanted not in ('repair', 'delete') then
        raise exception 'the server may not ask for a job of kind %', wanted using errcode = 'insufficient_privilege';
    end if;
    insert into jobs (kind, subject, tenant_id, state)
    select wanted, 'tenant ' || t.id, t.id, case wanted when 'repair' then 'queued' else 'waiting' end
    from tenants t where t.id = tenant and (t.state in ('active', 'read_only') or wanted <> 'repair')
    on conflict do nothing;
end;
$$;

-- Jobs with steps: whoever carries one out can be killed anywhere, and the next one goes on from where it was.

alter table jobs drop constraint jobs_kind_check;
alter table jobs drop constraint jobs_state_check;
drop index jobs_one_open;
alter table jobs
    -- What it is about, and the name of the lock that is held while it is carried out: 'tenant 42', 'number +18005550100'.
    add column subject     text,
    -- What was asked for beyond kind and subject. Never a secret.
    add column params      jsonb not null default '{}',
    -- Taking back what was done, last step first.
    add column undo        boolean not null default false,
    -- The step that is being carried out, and how many of how many are done.
    add column step        text,
    add column steps_done  integer not null default 0,
    add column steps_total integer not null default 0,
    -- The process that carries it out. It is alive while a session bears its name; the lease is for one that hangs.
    add column holder      text,
    add column lease_until timestamptz,
    -- Not tried again after this.
    add column deadline    timestamptz not null default now() + interval '1 day',
    -- What went wrong, oldest first: {at, attempt, step, error}. The last twenty.
    add column errors      jsonb not null default '[]',
    -- Kinds that destroy are carried out only with an operator's approval: sealed under the provisioner's ring, for this very job.
    add column approval    bytea,
    add column asked_by    text not null default 'server',
    alter column tenant_id drop not null;
update jobs set subject = 'tenant ' || tenant_id;
alter table jobs
    alter column subject set not null,
    drop column error,
    add constraint jobs_kind_shape check (kind ~ '^[a-z][a-z-]{0,40}$'),
    -- waiting: for approval. failed: given up, to be retried or cancelled by an operator. recovery_failed: given up while taking back.
    add constraint jobs_states check
        (state in ('waiting', 'queued', 'running', 'done', 'failed', 'cancelled', 'recovery_failed')),
    add constraint jobs_held check ((state = 'running') = (holder is not null and lease_until is not null));
create unique index jobs_one_open on jobs (kind, subject) where state in ('waiting', 'queued', 'running');
create index jobs_open on jobs (not_before) where state in ('queued', 'running');
create index jobs_by_tenant on jobs (tenant_id, id);

drop trigger announce on jobs;
create trigger announce after insert or update of state on jobs
    for each row when (new.state = 'queued') execute function announce('job');

-- What the internet-facing server may ask for: a repair, which harms nobody; and what destroys, which then waits for an operator.
drop function request_repair(integer);
create function request_job(wanted text, tenant integer) returns void
    language plpgsql security definer set search_path = public
as $$
begin
    if wanted not in ('repair', 'delete') then
        raise exception 'the server may not ask for a job of kind %', wanted using errcode = 'insufficient_privilege';
    end if;
    insert into jobs (kind, subject, tenant_id, state)
    select wanted, 'tenant ' || t.id, t.id, case wanted when 'repair' then 'queued' else 'waiting' end
    from tenants t where t.id = tenant and (t.state = 'active' or wanted <> 'repair')
    on conflict do nothing;
end;
$$;
revoke execute on function request_job(text, integer) from public;

-- erased: nothing is left of it anywhere but its id, which is never used again.
alter table tenants drop constraint tenants_state_check;
alter table tenants add constraint tenants_states
    check (state in ('provisioning', 'active', 'suspended', 'deleted', 'erased'));

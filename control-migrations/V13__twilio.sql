-- Subaccounts at Twilio that were asked for on behalf of tenants.

-- Written before Twilio is asked. Twilio makes as many subaccounts of one name as it is asked for, so each tenant's name is
-- drawn once and kept: a command that was killed before it heard the answer looks for that name before it asks again. The name is
-- unique at Twilio too, where several installations may share an account.
create table twilio_subaccounts (
    tenant_id     integer primary key references tenants,
    -- The account that it is under: a name is looked for where it was asked for.
    under         text not null,
    -- What Twilio allows.
    friendly_name text not null unique check (length(friendly_name) between 1 and 64),
    wanted_at     timestamptz not null default now()
);

-- Secrets of services that sign their own tokens as they always have: HS256 over customer_id, scope, iat and exp, without a key id.
-- There are none until an operator registers one, and each says whose tokens it may sign.
alter table signing_keys
    add column legacy         boolean not null default false,
    -- The tenants it is bound to; null means all. Tenants are never deleted, so these ids keep their meaning.
    add column legacy_tenants integer[],
    add constraint legacy_is_shared check (not legacy or algorithm = 'HS256'),
    add constraint legacy_is_bound  check (legacy_tenants is null or (legacy and cardinality(legacy_tenants) > 0));

-- A control database that was restored from a copy serves nobody until it has been compared with the clusters.

alter table installation
    -- Raised by each restore to the moment of it, in seconds, so that two restores of one copy differ. Generations begin above it.
    add column epoch             bigint not null default 1,
    -- Since when it is being compared; null: it serves. While it stands here, the server's login may read nothing of tenants.
    add column reconciling_since timestamptz,
    -- The copy that it was restored from last.
    add column restored_from     uuid;

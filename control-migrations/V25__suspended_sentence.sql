-- What callers of one tenant hear while it is suspended or switched off; null: the platform's sentence. It is kept here because a
-- suspended tenant's own schema cannot be asked.
alter table tenants
    add column suspended_sentence text check (length(suspended_sentence) between 1 and 1000);

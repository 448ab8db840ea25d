-- A cluster can be closed to new tenants while it goes on serving those it has.

alter table clusters
    -- open: takes new tenants. cordoned: takes none. draining: takes none, and those that live there are to be moved away.
    add column admission text not null default 'open' check (admission in ('open', 'cordoned', 'draining'));

-- Who may come is the provisioner's business: servers forget what they have cached only when a way to a cluster changes.
drop trigger announce on clusters;
create trigger announce after update of host, port, tls, tls_ca, connection_budget on clusters
    for each row execute function announce('everything');

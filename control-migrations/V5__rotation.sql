-- Logins that take turns. A change of logins can be killed anywhere, so what it has come to stands here: a login that is being
-- made ready (next), or one that is no longer handed out and may still be in use (retiring). Never both.

alter table placements
    add column next_login           text,
    -- Sealed like sealed_password; it becomes that one when the turn comes.
    add column next_sealed_password bytea,
    add column retiring_login       text,
    add constraint placements_turn check (
        (next_login is null) = (next_sealed_password is null)
        and (next_login is null or retiring_login is null)
        and next_login is distinct from login and retiring_login is distinct from login);

alter table cluster_admins
    add column next_login           text,
    add column next_sealed_password bytea,
    add column retiring_login       text,
    add constraint cluster_admins_turn check (
        (next_login is null) = (next_sealed_password is null)
        and (next_login is null or retiring_login is null)
        and next_login is distinct from login and retiring_login is distinct from login);

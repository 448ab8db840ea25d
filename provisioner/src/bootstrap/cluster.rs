//! A cluster made fit to hold tenants: admin role, template and shared database, nothing for PUBLIC; then registered.

use super::{Superuser, ensure_login, row, run, shut_out_public};
use crate::admin_db::{AdminDb, ident, literal};
use crate::error::{Error, Result};
use crate::{Provisioner, steps};
use serde_json::json;
use strowger::control::clusters::{self, Cluster, Isolation, NewCluster};
use strowger::control::keys::Ring;
use strowger::id::Prefix;
use strowger::vault::Secret;
use tokio_postgres::Client;

/// A cluster to be prepared and registered.
pub struct ClusterSpec<'a> {
    /// The operator's name for it.
    pub name: &'a str,
    /// What it is to hold.
    pub holds: Isolation,
    /// A label for choosing.
    pub region: &'a str,
    /// What all instances together may hold open there.
    pub connection_budget: u32,
}

/// Prepares a server (admin role, template database, shared database, nothing for PUBLIC) and registers it.
pub async fn add_cluster(with: &Provisioner, at: &Superuser, spec: &ClusterSpec<'_>) -> Result<()> {
    let prefix = &with.installation.prefix;
    refuse_contradiction(with, at, spec).await?;
    let super_db = at.connect("postgres").await?;
    refuse_unfit(&super_db, prefix).await?;
    let [admin, login, other] = ["admin", "admin_a", "admin_b"].map(|what| prefix.name(what));
    let password = Secret::random_password();
    if row(&super_db, "select 1 from pg_roles where rolname = $1", &admin).await?.is_none() {
        run(&super_db, &format!("create role {} nologin createrole createdb", ident(&admin))).await?;
    }
    ensure_login(&super_db, &login, "", &password).await?;
    // It waits for its turn without a password.
    if row(&super_db, "select 1 from pg_roles where rolname = $1", &other).await?.is_none() {
        run(&super_db, &format!("create role {}", ident(&other))).await?;
    }
    let (admin_role, [login_role, other_role]) = (ident(&admin), [&login, &other].map(|role| ident(role)));
    run(
        &super_db,
        &format!(
            "alter role {other_role} nologin password null; grant {admin_role} to {login_role}, {other_role};
             grant pg_signal_backend to {admin_role}"
        ),
    )
    .await?;
    shut_out_public(&super_db, Some(&admin)).await?;
    make_template(at, &super_db, prefix).await?;

    let admin_key = with.platform_key(Ring::Admin).await?;
    let mut change = with.control.change(&with.actor).await?;
    let new = NewCluster {
        name: spec.name,
        holds: spec.holds,
        region: spec.region,
        address: &at.address,
        connection_budget: spec.connection_budget,
        admin_login: &login,
        admin_password: &admin_key.seal(&login, password.expose()),
    };
    let id = clusters::put(&mut change, &new).await?;
    change.commit().await?;
    if spec.holds == Isolation::Schema {
        let cluster = clusters::get(&with.control, id).await?;
        prepare_shared(with, &cluster.ok_or_else(|| Error::Conflict("the cluster was removed meanwhile".into()))?)
            .await?;
    }
    Ok(())
}

/// A server has one name, and a name one kind.
async fn refuse_contradiction(with: &Provisioner, at: &Superuser, spec: &ClusterSpec<'_>) -> Result<()> {
    let shaped = spec.name.starts_with(|c: char| c.is_ascii_lowercase())
        && spec.name.len() <= 31
        && spec.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !shaped {
        return Err(Error::Conflict("a cluster's name is up to 31 of a-z, 0-9, - and starts with a letter".into()));
    }
    for known in clusters::list(&with.control).await? {
        if known.name == spec.name && known.kind != spec.holds.cluster_kind() {
            return Err(Error::Conflict(format!("cluster {} is {} and stays so", known.name, known.kind)));
        }
        if known.name != spec.name && known.address.host == at.address.host && known.address.port == at.address.port {
            return Err(Error::Conflict(format!("this server is registered already, as cluster {}", known.name)));
        }
    }
    Ok(())
}

/// The database of a shared cluster, and the group that may connect to it.
async fn prepare_shared(with: &Provisioner, cluster: &Cluster) -> Result<()> {
    let prefix = &with.installation.prefix;
    let db = AdminDb::open(with, cluster, steps::MAINTENANCE_DATABASE).await?;
    let (database, group) = (Cluster::shared_database(prefix), steps::shared_group(with));
    if !db.exists("select 1 from pg_roles where rolname = $1", &group).await? {
        db.run(&format!("create role {} nologin", ident(&group))).await?;
    }
    steps::clone_template(&db, prefix, &database).await?;
    db.run(&format!("grant connect on database {} to {}", ident(&database), ident(&group))).await?;
    db.run(&format!("alter database {} with allow_connections true", ident(&database))).await
}

/// Settings without which callers' words could reach a server log, and the cluster that must stay apart.
async fn refuse_unfit(db: &Client, prefix: &Prefix) -> Result<()> {
    const NEEDED: [(&str, &str); 7] = [
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
        ("log_min_duration_sample", "-1"),
        ("password_encryption", "scram-sha-256"),
        // A prepared transaction outlives its session and the worker's limit on the age of tenants' transactions.
        ("max_prepared_transactions", "0"),
    ];
    let mut unfit = Vec::new();
    for (name, needed) in NEEDED {
        let found = row(db, "select setting from pg_settings where name = $1", name).await?;
        if found.is_none_or(|row| row.get::<_, String>(0) != needed) {
            unfit.push(format!("  alter system set {name} = '{needed}';"));
        }
    }
    if !unfit.is_empty() {
        return Err(Error::Conflict(format!(
            "this server's settings could bring callers' words into its log, or outlive our limits. As superuser, one statement at a \
             time:\n{}\n  select pg_reload_conf();\n(max_prepared_transactions needs a restart.)",
            unfit.join("\n")
        )));
    }
    if row(db, "select 1 from pg_database where datname = $1", &prefix.name("control")).await?.is_some() {
        let why = "the control database has a cluster of its own: a tenant's login could exhaust the server it shares";
        return Err(Error::Conflict(why.into()));
    }
    // `shut_out_public` closes these two.
    let open = "select datname::text from pg_database where datallowconn and datname not in ('postgres', 'template1')
                and has_database_privilege('public', oid, 'connect, temporary') limit 1";
    if let Some(row) = db.query_opt(open, &[]).await.map_err(Error::postgres("inspect the server"))? {
        let name = ident(row.get(0));
        let fix = format!("revoke all on database {name} from public; (first grant connect to those who need it)");
        return Err(Error::Conflict(format!(
            "every login can connect to database {name} here. Run as superuser: {fix}"
        )));
    }
    Ok(())
}

/// Functions of `pg_catalog` that no tenant's login may call (a regular expression over their names): with them one tenant
/// could lock, signal or store for another, or watch what goes on beside it. All that a server offers to everybody else
/// stands in tests/it/isolation/functions.rs, and a function that a new Postgres brings fails the test until it is judged.
const CLOSED_FUNCTIONS: &str = "advisory|^lo_|^pg_stat_get_|^(loread|lowrite|pg_notify|pg_logical_emit_message|pg_export_snapshot\
    |pg_listening_channels|pg_notification_queue_usage|pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids\
    |pg_isolation_test_session_is_blocked|pg_prepared_xact|pg_get_replication_slots|pg_relation_size|pg_table_size\
    |pg_indexes_size|pg_total_relation_size|pg_database_size|pg_tablespace_size|pg_tablespace_databases|pg_control_.*\
    |pg_current_wal_.*|pg_last_.*|pg_get_multixact_members|pg_xact_.*|txid_status)$";

/// The database that every tenant database is cloned from: what one tenant could use to watch, lock or talk to another is
/// taken from PUBLIC. Only a superuser can do that, and a clone keeps it.
async fn make_template(at: &Superuser, super_db: &Client, prefix: &Prefix) -> Result<()> {
    let (template, admin) = (prefix.name("template"), prefix.name("admin"));
    if row(super_db, "select 1 from pg_database where datname = $1", &template).await?.is_none() {
        let create = format!("create database {} owner {} allow_connections false", ident(&template), ident(&admin));
        run(super_db, &create).await?;
    }
    run(super_db, &format!("revoke all on database {} from public", ident(&template))).await?;
    run(super_db, &format!("alter database {} with allow_connections true is_template true", ident(&template))).await?;
    let db = at.connect(&template).await?;
    run(&db, "revoke all on schema public from public; revoke usage on language plpgsql from public").await?;
    run(
        &db,
        &format!(
            "do $$ declare f regprocedure; begin
               for f in select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ {}
               loop
                 execute format('revoke execute on function %s from public', f);
                 execute format('grant execute on function %s to %I', f, {});
               end loop; end $$",
            literal(CLOSED_FUNCTIONS),
            literal(&admin)
        ),
    )
    .await?;
    drop(db);
    run(super_db, &format!("alter database {} with allow_connections false", ident(&template))).await
}

/// Follows the private clusters to the ports they came up on.
pub(crate) async fn follow_ports(with: &Provisioner, ports: &[(&str, u16)]) -> Result<()> {
    for cluster in clusters::list(&with.control).await? {
        let moved = ports.iter().find(|(name, port)| *name == cluster.name && *port != cluster.address.port);
        if let Some((name, port)) = moved {
            let mut change = with.control.change(&with.actor).await?;
            clusters::set_port(&mut change, name, *port).await?;
            change.commit().await?;
            tracing::info!(cluster = name, detail = %json!({ "port": port }), "a private cluster has a new port");
        }
    }
    Ok(())
}

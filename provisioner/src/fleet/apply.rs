//! One tenant, brought to the target on a connection that serves many.
//!
//! Two round trips: one takes the owner's role on and reads the tenant's own history under a lock, the other applies what
//! is missing, writes the history and lays the role down. Two runners never apply twice: the second waits for the first
//! one's lock and then reads what it wrote.

use refinery::Migration;
use strowger::clock::Clock;
use strowger::control::tenants::Tenant;
use strowger::schema::{HISTORY_TABLE, READ_ONLY_TABLES};
use time::format_description::well_known::Rfc3339;

use super::sequence::{Applied, Next, Sequence, text, version_of};
use super::statements;
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident, literal};
use crate::error::Error;

/// Why a tenant is not at the target.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody holds a lock that is needed, or the cluster is away: it may be different in a moment.
    Busy(String),
    /// Trying again without mending something comes to the same.
    Broken(String),
}

/// What became of a tenant.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// What its history said first; `None` if it was not read.
    pub(super) from: Option<i32>,
    /// What its history says now.
    pub(super) to: Option<i32>,
    pub(super) trouble: Option<Trouble>,
}

/// A lock that was not given in time, a deadlock, a conflict: of the moment.
const BUSY: [&str; 3] = ["55P03", "40P01", "40001"];

impl Trouble {
    /// What may be kept in the control database: a message of these classes can quote what a caller said.
    pub(super) fn from(doing: &str, error: &Error) -> Self {
        match error {
            Error::Postgres { sqlstate, message, .. } => {
                let quotes = ["22", "23", "P0", "XX"].iter().any(|class| sqlstate.starts_with(class));
                let said =
                    if quotes { "its message could quote data and is not kept".to_owned() } else { message.clone() };
                let text = format!("{doing}: {said} (SQLSTATE {sqlstate})");
                if BUSY.contains(&sqlstate.as_str()) { Self::Busy(text) } else { Self::Broken(text) }
            }
            other => Self::Busy(format!("{doing}: {other}")),
        }
    }

    /// Another command is at work on the tenant.
    pub(super) fn held() -> Self {
        Self::Busy("another command holds the tenant's lock".to_owned())
    }

    /// The cluster could not be reached at all.
    pub(super) fn unreachable(error: &Error) -> Self {
        Self::from("connect", error)
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Busy(text) | Self::Broken(text) => text,
        }
    }
}

/// A tenant, and how to work on it.
pub(super) struct Site<'a> {
    with: &'a Provisioner,
    db: &'a AdminDb,
    tenant: &'a Tenant,
    sequence: &'a Sequence,
    lock_timeout_ms: u32,
    owner: String,
    admin: String,
    /// Whoever takes this tenant's lock after us ends sessions of this name.
    session: String,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        with: &'a Provisioner,
        db: &'a AdminDb,
        tenant: &'a Tenant,
        sequence: &'a Sequence,
        lock_timeout_ms: u32,
    ) -> Self {
        let prefix = &with.installation.prefix;
        Self {
            with,
            db,
            tenant,
            sequence,
            lock_timeout_ms,
            owner: ident(&prefix.tenant(tenant.id, "owner")),
            admin: ident(&prefix.name("admin")),
            session: AdminDb::session_of(with, tenant),
        }
    }

    /// Does everything that is missing. The tenant's lock is held.
    pub(super) async fn bring(&self) -> Attempt {
        let mut attempt = Attempt::default();
        attempt.trouble = self.pieces(&mut attempt).await.err();
        attempt
    }

    async fn pieces(&self, attempt: &mut Attempt) -> Result<(), Trouble> {
        loop {
            let history = self.begin().await?;
            let at = version_of(&history);
            attempt.from.get_or_insert(at);
            attempt.to = Some(at);
            let reached = match self.sequence.after(&history) {
                Err(wrong) => return self.back_out(Err(Trouble::Broken(wrong))).await,
                Ok(Next::Nothing) => return self.back_out(Ok(())).await,
                Ok(Next::Together(migrations)) => {
                    self.together(migrations).await?;
                    migrations.last().map_or(at, Migration::version)
                }
                Ok(Next::Alone(migration)) => {
                    self.back_out(Ok(())).await?;
                    self.alone(migration).await?;
                    migration.version()
                }
            };
            attempt.to = Some(reached);
            if reached >= self.sequence.target() {
                return Ok(());
            }
        }
    }

    /// Begins a transaction as the tenant's owner and reads the history under a lock.
    async fn begin(&self) -> Result<Vec<Applied>, Trouble> {
        let sql = format!(
            "begin; set local application_name = {}; set local lock_timeout = {}; grant {owner} to {};
             set local role {owner}; set local search_path = {};
             lock table {HISTORY_TABLE} in share update exclusive mode;
             select version, name, checksum from {HISTORY_TABLE} order by version",
            literal(&self.session),
            self.lock_timeout_ms,
            self.admin,
            ident(&self.tenant.schema),
            owner = self.owner,
        );
        match self.db.rows(&sql).await {
            Ok(rows) => Ok(rows.iter().map(applied).collect()),
            Err(error) => self.back_out(Err(Trouble::from("read its history", &error))).await,
        }
    }

    async fn together(&self, migrations: &[Migration]) -> Result<(), Trouble> {
        let group = ident(&self.with.installation.prefix.tenant(self.tenant.id, "rw"));
        let mut sql = String::new();
        for migration in migrations {
            sql.push_str(text(migration));
            // What follows is not part of a comment in the file's last line.
            sql.push_str("\n;");
            sql.push_str(&rights(migration, &group));
            sql.push_str(&history_row(migration));
        }
        sql.push_str(&format!("set local role {}; revoke {} from {0}; commit", self.admin, self.owner));
        match self.db.run(&sql).await {
            Ok(()) => Ok(()),
            Err(error) => self.back_out(Err(Trouble::from(&names(migrations), &error))).await,
        }
    }

    /// Undoes the transaction, and passes on why.
    async fn back_out<T>(&self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        match self.db.run("rollback").await {
            Ok(()) => result,
            Err(error) => Err(Trouble::from("undo", &error)),
        }
    }

    /// Runs a file's statements one by one, each of which may have been carried out before.
    async fn alone(&self, migration: &Migration) -> Result<(), Trouble> {
        let done = self.statements(migration).await;
        // The connection serves others after this, whatever happened; and a role that is kept makes every grant slower.
        let sql = format!(
            "rollback; reset search_path; reset lock_timeout; reset application_name; set role {0}; revoke {1} from {0}",
            self.admin, self.owner
        );
        let laid_down = self.db.run(&sql).await;
        done.and(laid_down).map_err(|error| Trouble::from(&migration.to_string(), &error))
    }

    async fn statements(&self, migration: &Migration) -> Result<(), Error> {
        self.db.end_earlier(self.with, self.tenant).await?;
        let invalid = self.invalid_indexes(text(migration)).await?;
        self.db.run(&format!("set application_name = {}", literal(&self.session))).await?;
        self.db
            .run(&format!(
                "set lock_timeout = {}; grant {owner} to {}; set role {owner}; set search_path = {}",
                self.lock_timeout_ms,
                self.admin,
                ident(&self.tenant.schema),
                owner = self.owner,
            ))
            .await?;
        for index in invalid {
            self.db.run(&format!("drop index concurrently if exists {}", ident(&index))).await?;
        }
        for statement in statements::split(text(migration)) {
            self.db.run(statement).await?;
        }
        // In one transaction: whoever finds the row takes it that nobody is still a member of the owner role.
        let laid_down = format!("set local role {0}; revoke {1} from {0}", self.admin, self.owner);
        self.db.run(&format!("begin; {} {laid_down}; commit", history_row(migration))).await
    }

    /// What an interrupted `create index concurrently` left: `if not exists` would take it for the index.
    async fn invalid_indexes(&self, file: &str) -> Result<Vec<String>, Error> {
        let sql = "select c.relname::text from pg_index i join pg_class c on c.oid = i.indexrelid
                   join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and not i.indisvalid";
        let rows = self.db.query(sql, &[&self.tenant.schema]).await?;
        Ok(rows.iter().map(|row| row.get(0)).filter(|name: &String| file.contains(name.as_str())).collect())
    }
}

/// A row of a history, as the simple protocol gives it.
pub(super) fn applied(row: &tokio_postgres::SimpleQueryRow) -> Applied {
    let text = |name: &str| row.try_get(name).ok().flatten().unwrap_or_default().to_owned();
    Applied { version: text("version").parse().unwrap_or(0), name: text("name"), checksum: text("checksum") }
}

/// Default privileges let the tenant's logins write to every new table; some only the provisioner writes.
fn rights(migration: &Migration, group: &str) -> String {
    let made = READ_ONLY_TABLES.iter().filter(|table| text(migration).contains(&format!("create table {table} ")));
    let tables: Vec<&str> = made.copied().collect();
    if tables.is_empty() {
        return String::new();
    }
    format!("revoke insert, update, delete on {} from {group};\n", tables.join(", "))
}

/// The row that refinery would have written.
fn history_row(migration: &Migration) -> String {
    let now = Clock::system().now().format(&Rfc3339).unwrap_or_default();
    // Names are made of word characters only, refinery sees to that.
    let (version, name, checksum) = (migration.version(), migration.name(), migration.checksum());
    format!(
        "insert into {HISTORY_TABLE} (version, name, applied_on, checksum) values ({version}, '{name}', '{now}', '{checksum}');\n"
    )
}

fn names(migrations: &[Migration]) -> String {
    migrations.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

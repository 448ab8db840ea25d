//! What the clusters themselves say: whose schemas are where, which numbers they own. And every tenant's logins shut, by the
//! cluster's own catalog: control, just restored, does not know of all of them.

use std::collections::{BTreeMap, BTreeSet};

use strowger::control::clusters::{self, Cluster, Isolation};
use strowger::id::TenantId;
use strowger::phone::Number;
use tokio_postgres::Row;

use crate::Provisioner;
use crate::admin_db::{AdminDb, ident, literal};
use crate::error::{Error, Result};
use crate::steps::MAINTENANCE_DATABASE;

/// So many schemas are read in one transaction: it holds their roles' memberships for a few milliseconds.
const AT_ONCE: usize = 100;

/// A tenant's schema where it was found.
pub(super) struct Found {
    pub(super) cluster: Cluster,
    pub(super) database: String,
    /// What its identity row says.
    pub(super) epoch: i32,
    /// Whether its logins could write there, if they were let in: where a tenant has left they cannot.
    pub(super) is_written: bool,
    /// Whether a move was carrying it there and had not turned: what is there may lack what was acknowledged last.
    pub(super) arrives: bool,
    /// The numbers in its mirror.
    numbers: Vec<String>,
}

impl Found {
    /// How its tenant is kept apart there.
    pub(super) fn isolation(&self) -> Isolation {
        if self.cluster.kind == Isolation::Schema.cluster_kind() { Isolation::Schema } else { Isolation::Database }
    }
}

/// What all clusters hold.
#[derive(Default)]
pub(super) struct Survey {
    /// Live schemas by the tenant that they say they are. More than one: what a killed move left, or a hand.
    pub(super) tenants: BTreeMap<TenantId, Vec<Found>>,
    /// Who owns each number.
    pub(super) numbers: BTreeMap<String, BTreeSet<TenantId>>,
    /// Ids that something on a cluster is named after.
    pub(super) ids: BTreeSet<i32>,
    /// Schemas that say they are another tenant's than their name and owner do.
    pub(super) strange: Vec<String>,
    /// Whose writes a move carries along, or has left something with which it did.
    pub(super) moving: BTreeSet<i32>,
}

/// Shuts every tenant out of every cluster: no login works, no session is left.
pub async fn shut(with: &Provisioner) -> Result<()> {
    for cluster in clusters::list(&with.control).await? {
        let db = AdminDb::open(with, &cluster, MAINTENANCE_DATABASE).await?;
        let ours = format!("^{}[0-9]+_[ab]$", with.installation.prefix.name("t"));
        let sql = "select rolname::text from pg_roles where rolname ~ $1 and rolcanlogin";
        for roles in db.query(sql, &[&ours]).await?.chunks(AT_ONCE) {
            let each = roles.iter().map(|row| format!("alter role {} nologin;", ident(row.get(0))));
            db.run(&each.collect::<String>()).await?;
        }
        db.end_sessions("usename ~ $1", &[&ours]).await?;
    }
    Ok(())
}

/// Reads all clusters. One that cannot be read is an error: what it holds would be taken for absent.
pub(super) async fn read(with: &Provisioner) -> Result<Survey> {
    let mut survey = Survey::default();
    let before = with.installation.prefix.name("t");
    for cluster in clusters::list(&with.control).await? {
        let db = AdminDb::open(with, &cluster, MAINTENANCE_DATABASE).await?;
        let sql = "select substring(name from $1)::int from
                       (select rolname::text as name from pg_roles union all select datname::text from pg_database) x where name ~ $1";
        let named = db.query(sql, &[&format!("^{before}([0-9]{{1,9}})(_.*)?$")]).await?;
        survey.ids.extend(named.iter().map(|row| row.get::<_, i32>(0)));
        let sql = "select datname::text from pg_database where datallowconn and (datname = $1 or datname ~ $2) order by datname";
        let shared = Cluster::shared_database(&with.installation.prefix);
        for row in db.query(sql, &[&shared, &format!("^{before}[0-9]+$")]).await? {
            read_database(with, &cluster, row.get(0), &mut survey).await?;
        }
        read_moves(with, &cluster, &db, &mut survey).await?;
    }
    for (id, found) in &survey.tenants {
        // What a move left behind keeps its mirror as it was then.
        let lived = || found.iter().filter(|found| !found.arrives);
        let newest = lived().map(|found| found.epoch).max();
        for number in lived().filter(|found| Some(found.epoch) == newest).flat_map(|found| &found.numbers) {
            survey.numbers.entry(number.clone()).or_default().insert(*id);
        }
    }
    Ok(survey)
}

/// What moves made to carry writes along. Its subscription is gone before a move turns, and not before all of it has come.
async fn read_moves(with: &Provisioner, cluster: &Cluster, db: &AdminDb, survey: &mut Survey) -> Result<()> {
    let ours = format!("^{}([0-9]{{1,9}})_move$", with.installation.prefix.name("t"));
    let sql = "select substring(name from $1)::int, database from
                   (select rolname::text as name, null as database from pg_roles
                    union all select slot_name::text, null from pg_replication_slots
                    union all select s.subname::text, d.datname::text from pg_subscription s join pg_database d on d.oid = s.subdbid) x
               where name ~ $1";
    for row in db.query(sql, &[&ours]).await? {
        let (id, subscribed): (i32, Option<String>) = (row.get(0), row.get(1));
        survey.moving.insert(id);
        for found in survey.tenants.get_mut(&id.try_into()?).into_iter().flatten() {
            found.arrives |= found.cluster.id == cluster.id && Some(&found.database) == subscribed.as_ref();
        }
    }
    Ok(())
}

async fn read_database(with: &Provisioner, cluster: &Cluster, database: String, survey: &mut Survey) -> Result<()> {
    let mut db = AdminDb::open(with, cluster, &database).await?;
    let sql = "select substring(n.nspname::text from 8)::int from pg_namespace n
               where n.nspname ~ '^tenant_[0-9]{1,9}$' and pg_get_userbyid(n.nspowner)::text = $1 || substring(n.nspname::text from 8) || '_owner'
                 and (select count(*) from pg_class c where c.relnamespace = n.oid and c.relowner = n.nspowner and c.relkind = 'r'
                      and c.relname in ('identity', 'numbers')) = 2
               order by 1";
    let ids: Vec<i32> =
        db.query(sql, &[&with.installation.prefix.name("t")]).await?.iter().map(|row| row.get(0)).collect();
    for some in ids.chunks(AT_ONCE) {
        let rows = contents(with, &mut db, some).await?;
        for Identity { id, says, epoch, is_written } in rows.identities {
            survey.ids.insert(id);
            if id == says {
                let numbers =
                    rows.numbers.iter().filter(|(of, _)| *of == id).map(|(_, number)| number.clone()).collect();
                let (cluster, database) = (cluster.clone(), database.clone());
                let found = Found { cluster, database, epoch, is_written, arrives: false, numbers };
                survey.tenants.entry(id.try_into()?).or_default().push(found);
            } else {
                let place = format!("cluster {}, database {database}", cluster.name);
                survey.strange.push(format!("{place}: schema tenant_{id} says that it is tenant {says}'s"));
            }
        }
    }
    Ok(())
}

struct Contents {
    identities: Vec<Identity>,
    numbers: Vec<(i32, String)>,
}

struct Identity {
    /// In the schema's name.
    id: i32,
    /// In its identity row.
    says: i32,
    epoch: i32,
    is_written: bool,
}

/// Becomes a member of the owners, reads, and undoes that again.
async fn contents(with: &Provisioner, db: &mut AdminDb, ids: &[i32]) -> Result<Contents> {
    let prefix = &with.installation.prefix;
    let owners: Vec<String> = ids.iter().map(|id| ident(&format!("{}{id}_owner", prefix.name("t")))).collect();
    let each = |columns: &dyn Fn(i32) -> String, table: &str| {
        let one = |id: &i32| format!("select {id} as id, {} from tenant_{id}.{table}", columns(*id));
        ids.iter().map(one).collect::<Vec<_>>().join(" union all ")
    };
    let identity = |id: i32| {
        let group = literal(&format!("{}{id}_rw", prefix.name("t")));
        let written = format!("has_table_privilege(oid, to_regclass('tenant_{id}.memories'), 'insert')");
        format!("tenant_id, epoch, coalesce((select {written} from pg_roles where rolname = {group}), false)")
    };
    let failed = |what: &str| Error::postgres(format!("read whose schemas there are in {what}"));
    let what = db.what();
    let tx = db.begin().await?;
    let join = format!("grant {} to {}", owners.join(", "), ident(&prefix.name("admin")));
    tx.batch_execute(&join).await.map_err(failed(&what))?;
    let identities = tx.query(&each(&identity, "identity"), &[]).await.map_err(failed(&what))?;
    let numbers = tx.query(&each(&|_| "kind, value".into(), "numbers"), &[]).await.map_err(failed(&what))?;
    tx.rollback().await.map_err(failed(&what))?;
    let mut owned = Vec::new();
    for row in numbers {
        if let Ok(number) = Number::from_parts(row.get(1), row.get(2)) {
            owned.push((row.get(0), number.to_string()));
        }
    }
    let identity = |row: &Row| Identity { id: row.get(0), says: row.get(1), epoch: row.get(2), is_written: row.get(3) };
    Ok(Contents { identities: identities.iter().map(identity).collect(), numbers: owned })
}

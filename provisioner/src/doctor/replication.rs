//! What moves made on a cluster so that they replicate, against the moves that control knows.

use super::ward::Ward;
use super::{Finding, id_in};
use crate::admin_db::AdminDb;
use crate::error::Result;

pub(super) async fn look(db: &AdminDb, ward: &mut Ward<'_>) -> Result<()> {
    let before = ward.known.prefix.name("t");
    let ours = format!("^{before}[0-9]+");
    let sql = "select slot_name::text from pg_replication_slots where slot_name ~ $1";
    for row in db.query(sql, &[&ours]).await? {
        let name: String = row.get(0);
        let Some((id, _)) = id_in(&name, &before) else { continue };
        if ward.known.is_left_over(id) {
            let what = format!("replication slot {name}: nobody moves tenant {id}; it keeps WAL until it is dropped");
            let place = ward.place();
            ward.push(Finding::new("slot.unknown", place, what, move_advice(&name)));
        }
        if ward.known.is_orphan(id) {
            let what = format!("replication slot {name}: control has no such tenant; it keeps WAL for ever");
            let place = ward.place();
            ward.push(Finding::new(
                "slot.orphan",
                place,
                what,
                format!("as superuser: select pg_drop_replication_slot('{name}')"),
            ));
        }
    }
    let sql = "select s.subname::text, d.datname::text from pg_subscription s join pg_database d on d.oid = s.subdbid
               where s.subname ~ $1 order by 1, 2";
    for row in db.query(sql, &[&ours]).await? {
        let (name, database): (String, String) = (row.get(0), row.get(1));
        let Some((id, _)) = id_in(&name, &before) else { continue };
        if ward.known.is_left_over(id) || ward.known.is_orphan(id) {
            let what = format!("subscription {name} in database {database}: nobody moves tenant {id}");
            let place = ward.place();
            ward.push(Finding::new("subscription.unknown", place, what, move_advice(&name)));
        }
    }
    Ok(())
}

/// What a move has left goes with its job; what no job knows, a superuser drops.
fn move_advice(name: &str) -> String {
    format!(
        "`strowgerctl job list` has a move to go on with or cancel; if not, as superuser in its database: alter subscription {name} disable; \
         alter subscription {name} set (slot_name = none); drop subscription {name}; on the other server: select \
         pg_drop_replication_slot('{name}'); drop publication {name}; drop owned by {name}; drop role {name}"
    )
}

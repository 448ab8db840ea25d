//! Whether a cluster whose archive is known gets its log there.

use strowger::control::archives;

use super::Finding;
use super::ward::Ward;
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::Result;

pub(super) async fn look(with: &Provisioner, db: &AdminDb, ward: &mut Ward<'_>) -> Result<()> {
    let archive = archives::get(&with.control, ward.cluster.id).await?;
    if archive.is_none_or(|archive| archive.ended_at.is_some()) {
        return Ok(());
    }
    let sql = "select last_failed_wal from pg_stat_archiver
               where last_failed_time > coalesce(last_archived_time, '-infinity')";
    for row in db.query(sql, &[]).await? {
        let piece: String = row.get(0);
        let what = format!(
            "its log does not get into its archive since {piece}: no moment after that can be restored, and the server keeps its log \
             until its disk is full"
        );
        let advice = format!(
            "`strowgerctl cluster archive status {}`, and what the server's own log has of archive-push",
            ward.cluster.name
        );
        let place = ward.place();
        ward.push(Finding::new("archive.failing", place, what, advice));
    }
    Ok(())
}

//! What tables do without while they are filled: foreign keys, and large ones their indexes.
//!
//! Foreign keys come last, so that tables may refer to each other in circles. An index that is made of a filled table is read through
//! once and sorted; one that is there before is looked into for every row, which for a gigabyte takes several times as long.

use super::format::Table;
use crate::admin_db::ident;
use crate::error::Result;
use crate::steps::Owner;

/// From so many bytes of text on a table is filled without its indexes; below, making them anew costs more than they do.
const LARGE: u64 = 8 << 20;

/// What was taken off, as the statements that put it back, in their order.
pub(super) struct Untied(Vec<String>);

/// Takes it off tables that are empty.
pub(super) async fn untie(owner: &Owner<'_>, tables: &[Table]) -> Result<Untied> {
    let all: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let large: Vec<&str> =
        tables.iter().filter(|table| table.bytes >= LARGE).map(|table| table.name.as_str()).collect();
    let mut back = Vec::new();
    for (table, name, definition) in constraints(owner, &all, &["f"]).await? {
        owner.run(&format!("alter table {table} drop constraint {name}")).await?;
        back.push(format!("alter table {table} add constraint {name} {definition}"));
    }
    // Put back before the foreign keys, which need them.
    let mut keys = Vec::new();
    if !large.is_empty() {
        for (table, name, definition) in constraints(owner, &large, &["p", "u", "x"]).await? {
            owner.run(&format!("alter table {table} drop constraint {name}")).await?;
            keys.push(format!("alter table {table} add constraint {name} {definition}"));
        }
        let sql = "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
                   from unnest($1::text[]) t (name) join pg_index i on i.indrelid = t.name::regclass order by 1";
        for row in owner.query(sql, &[&large]).await? {
            owner.run(&format!("drop index {}", row.get::<_, &str>(0))).await?;
            keys.push(row.get(1));
        }
    }
    keys.append(&mut back);
    Ok(Untied(keys))
}

/// The table, the name and the definition of each of some kinds.
async fn constraints(owner: &Owner<'_>, tables: &[&str], kinds: &[&str]) -> Result<Vec<(String, String, String)>> {
    let sql = "select t.name, quote_ident(c.conname), pg_get_constraintdef(c.oid)
               from unnest($1::text[]) t (name) join pg_constraint c on c.conrelid = t.name::regclass
               where c.contype::text = any($2) order by 1, 2";
    let rows = owner.query(sql, &[&tables, &kinds]).await?;
    Ok(rows.iter().map(|row| (ident(row.get(0)), row.get(1), row.get(2))).collect())
}

impl Untied {
    /// Puts it back, which checks what was filled in.
    pub(super) async fn tie(self, owner: &Owner<'_>) -> Result<()> {
        for statement in self.0 {
            owner.run(&statement).await?;
        }
        Ok(())
    }
}

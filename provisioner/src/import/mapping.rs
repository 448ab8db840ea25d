//! The file that says where another platform's tables go: TOML, strict. A word that is not known is an error, with its line.

use std::collections::BTreeMap;

use serde::Deserialize;
use strowger::config::understand;
use strowger::id::TenantId;
use strowger::tenant::imports::{Absent, Field, Kind, TARGETS, Target};
use toml::Spanned;

/// Stands for all of a row that no other field takes.
pub(super) const REST: &str = "*";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    tenant_column: Names,
    #[serde(default)]
    same_ids: bool,
    #[serde(default)]
    tenants: BTreeMap<String, TenantId>,
    table: BTreeMap<String, Spanned<BTreeMap<String, Names>>>,
}

/// One name or several, of which the first that is there is meant.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a name in quotes, or a list of them")]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        match names {
            Names::One(name) => vec![name],
            Names::Several(names) => names,
        }
    }
}

/// Where everything goes.
#[derive(Debug)]
pub struct Mapping {
    /// The platform that the rows come from; part of the ids made of serial numbers.
    pub(super) name: String,
    /// Columns that may say whose a row is.
    pub(super) tenant_column: Vec<String>,
    /// Whether what stands there is the customer's id here.
    pub(super) same_ids: bool,
    /// Which customer a value means.
    pub(super) tenants: BTreeMap<String, TenantId>,
    /// The tenant of rows that no column says.
    pub(super) all_to: Option<TenantId>,
    pub(super) tables: Vec<TableMapping>,
}

/// Where one table's rows come from.
#[derive(Debug)]
pub(super) struct TableMapping {
    pub(super) target: &'static Target,
    /// Tables of the source, of which the first that is there is meant.
    pub(super) from: Vec<String>,
    /// For each field of the target, the columns that it may come from.
    pub(super) columns: Vec<Vec<String>>,
}

/// Reads a mapping; everything that is wrong with it comes back, each with its line.
pub fn read(text: &str) -> Result<Mapping, String> {
    let file: File = understand(text)?;
    let line = |span: std::ops::Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let mut problems = Vec::new();
    if file.name.get_ref().trim().is_empty() {
        problems.push(format!("line {}: the platform's name is empty", line(file.name.span())));
    }
    if file.same_ids && !file.tenants.is_empty() {
        problems.push("same-ids and [tenants] exclude each other".to_owned());
    }
    let mut tables = Vec::new();
    for (name, entry) in file.table {
        let at = line(entry.span());
        match table(&name, entry.into_inner()) {
            Ok(table) => tables.push(table),
            Err(wrong) => problems.extend(wrong.iter().map(|what| format!("line {at}, table {name}: {what}"))),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    Ok(Mapping {
        name: file.name.into_inner(),
        tenant_column: file.tenant_column.into(),
        same_ids: file.same_ids,
        tenants: file.tenants,
        all_to: None,
        tables,
    })
}

impl Mapping {
    /// Says more of whose rows are whose, as flags do.
    #[must_use]
    pub fn with_tenants(mut self, more: &[(String, TenantId)], all_to: Option<TenantId>) -> Self {
        self.tenants.extend(more.iter().cloned());
        self.all_to = all_to.or(self.all_to);
        self
    }

    /// The tenant that a value of the tenant column means. It stands nowhere else who that is: never a default one.
    pub(super) fn tenant_of(&self, value: &str) -> Option<TenantId> {
        match self.tenants.get(value) {
            Some(tenant) => Some(*tenant),
            None if self.same_ids => value.parse().ok(),
            None => None,
        }
    }

    /// All tenants that are named.
    pub(super) fn named(&self) -> Vec<TenantId> {
        let mut all: Vec<TenantId> = self.tenants.values().copied().chain(self.all_to).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn table(name: &str, mut entry: BTreeMap<String, Names>) -> Result<TableMapping, Vec<String>> {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(vec![format!("there is no such table here: there are {}", known.join(", "))]);
    };
    let from: Vec<String> = entry.remove("from").map_or_else(|| vec![name.to_owned()], Into::into);
    let mut problems = Vec::new();
    let columns =
        target.fields.iter().map(|field| columns_of(field, entry.remove(field.name), &mut problems)).collect();
    let known: Vec<&str> = target.fields.iter().map(|field| field.name).collect();
    problems.extend(entry.keys().map(|word| format!("there is no field {word}: there are {}", known.join(", "))));
    if from.is_empty() {
        problems.push("from names no table".to_owned());
    }
    if problems.is_empty() { Ok(TableMapping { target, from, columns }) } else { Err(problems) }
}

fn columns_of(field: &Field, names: Option<Names>, problems: &mut Vec<String>) -> Vec<String> {
    let names: Vec<String> = names.map(Into::into).unwrap_or_default();
    if names.is_empty() && field.absent == Absent::Refused {
        problems.push(format!("{} must name the columns it may come from", field.name));
    }
    let takes_rest = matches!(field.kind, Kind::Object | Kind::Id);
    if names.iter().any(|name| name == REST) && !takes_rest {
        problems.push(format!("{} cannot take the rest of a row", field.name));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHIPPED: &str = include_str!("../../../ops/import/legacy-memory.toml");

    #[test]
    fn the_shipped_mapping_is_understood() {
        let mapping = read(SHIPPED).unwrap();
        assert_eq!((mapping.tables.len(), mapping.same_ids, mapping.tenants.len()), (5, false, 0));
        let more = [("acme".to_owned(), "3".parse().unwrap())];
        let mapping = mapping.with_tenants(&more, Some("4".parse().unwrap()));
        assert_eq!(mapping.tenant_of("acme").map(TenantId::get), Some(3));
        assert_eq!(mapping.tenant_of("Acme"), None, "who is not named is nobody");
        assert_eq!(mapping.named().len(), 2);
    }

    #[test]
    fn a_mistake_comes_back_with_its_line() {
        for (text, said) in [
            ("name = \"x\"\n[table.memories]\nuser_id = \"u\"", "line 2, table memories: id must name"),
            ("name = \"x\"\n\n[table.memory]\nid = \"u\"", "line 3, table memory: there is no such table"),
            ("name = \"x\"\n[table.memories]\nid=\"i\"\nuser_id=\"u\"\ncontent=\"c\"\nbody=\"b\"", "no field body"),
            ("name = \"x\"\n[table.memories]\nid=\"i\"\nuser_id=\"*\"\ncontent=\"c\"", "user_id cannot take the rest"),
            ("name = \"\"\n[table]", "line 1: the platform's name is empty"),
            ("name = \"x\"\nsame-ids = true\n[tenants]\na = 1\n[table]", "exclude each other"),
            ("name = \"x\"\n[tenants]\n\"a\" = 0\n[table]", "line 3"),
            ("nome = \"x\"", "line 1"),
        ] {
            let problem = read(text).expect_err(text);
            assert!(problem.contains(said), "{text}: {problem}");
        }
    }

    #[test]
    fn the_same_ids_are_ids() {
        let mapping = read("name = \"x\"\nsame-ids = true\n[table]").unwrap();
        assert_eq!(mapping.tenant_of("7").map(TenantId::get), Some(7));
        for nobody in ["0", "-1", "x", "", "2147483648"] {
            assert_eq!(mapping.tenant_of(nobody), None, "{nobody}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[a-z\\[\\]=\"* \\n.]{0,120}") {
            let _ = read(&text);
        }

        #[test]
        fn a_shipped_line_left_out_is_read_or_named(n in 0usize..70) {
            let kept: Vec<&str> = SHIPPED.lines().enumerate().filter(|(i, _)| *i != n).map(|(_, line)| line).collect();
            let text = kept.join("\n");
            if let Err(problem) = read(&text) {
                prop_assert!(problem.contains("line ") || problem.contains("missing field"), "{}", problem);
            }
        }
    }
}

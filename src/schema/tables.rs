//! Which tables a tenant has at each schema version, so that a backup need not look for them in a cluster's catalog.

/// A table, and the versions at which it exists.
struct Known {
    name: &'static str,
    since: i32,
    /// The version that dropped it.
    until: i32,
}

const fn since(since: i32, name: &'static str) -> Known {
    Known { name, since, until: i32::MAX }
}

/// Whoever is referred to stands first.
const TABLES: [Known; 21] = [
    since(1, "identity"),
    since(1, "numbers"),
    Known { name: "settings", since: 2, until: 6 },
    since(2, "caller_profiles"),
    since(2, "memories"),
    since(2, "calls"),
    since(2, "call_summaries"),
    since(2, "personality_metrics"),
    since(2, "personality_averages"),
    since(3, "call_turns"),
    since(3, "messages"),
    since(3, "outbox"),
    since(4, "memory_vectors"),
    since(5, "knowledge_version"),
    since(5, "knowledge"),
    since(5, "scenarios"),
    since(5, "fillers"),
    since(5, "urgency"),
    since(5, "variables"),
    since(5, "cloned_from"),
    since(6, "configurations"),
];

/// The tables of a schema version, without the history of migrations; whoever is referred to stands first.
pub fn tables(version: i32) -> Vec<&'static str> {
    let exists = |table: &&Known| table.since <= version && version < table.until;
    TABLES.iter().filter(exists).map(|table| table.name).collect()
}

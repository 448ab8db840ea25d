//! Results as lines for people or JSON for scripts. Only results go to standard output; everything else to standard error.

use std::io::{self, Write};

use serde_json::Value;

use super::args::Output;
use crate::error::{Error, Result};

/// Prints one object, or a list of them as a table.
pub(super) fn show(output: Output, value: &Value) -> Result<()> {
    print(output, value).map_err(Error::io("print"))
}

fn print(output: Output, value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match (output, value) {
        (Output::Json, value) => writeln!(out, "{value}"),
        (Output::Text, Value::Array(rows)) => table(&mut out, rows),
        (Output::Text, Value::Object(fields)) => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            fields.iter().try_for_each(|(name, value)| writeln!(out, "{name:<width$}  {}", cell(value)))
        }
        (Output::Text, other) => writeln!(out, "{}", cell(other)),
    }
}

fn table(out: &mut impl Write, rows: &[Value]) -> io::Result<()> {
    let Some(Value::Object(first)) = rows.first() else { return writeln!(out, "none") };
    let names: Vec<&String> = first.keys().collect();
    let widths: Vec<usize> = names
        .iter()
        .map(|name| rows.iter().map(|row| cell(&row[name.as_str()]).chars().count()).max().unwrap_or(0).max(name.len()))
        .collect();
    let line = |out: &mut dyn Write, cells: Vec<String>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(out, names.iter().map(|name| name.to_uppercase()).collect())?;
    rows.iter().try_for_each(|row| line(out, names.iter().map(|name| cell(&row[name.as_str()])).collect()))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Tells a person what is going on.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "· {text}");
}

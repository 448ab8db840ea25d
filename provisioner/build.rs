//! Tells cargo which folders are read at build time, and lists the data files that are shipped.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../control-migrations");
    list("demo", "DEMO_FILES")?;
    list("profiles", "PROFILE_FILES")?;
    list("playbooks", "PLAYBOOK_FILES")
}

/// A constant with the name and the text of every TOML file of a folder of `ops/`.
fn list(folder: &str, constant: &str) -> Result<(), Box<dyn std::error::Error>> {
    let from = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../ops").join(folder);
    println!("cargo::rerun-if-changed={}", from.display());
    let mut files: Vec<_> =
        fs::read_dir(&from)?.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let mut list = format!("const {constant}: &[(&str, &str)] = &[\n");
    for file in files.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")) {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string())?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join(format!("{}.rs", constant.to_lowercase())), list)?;
    Ok(())
}

//! Tells cargo which folders are read at build time, and lists the demo's data files.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let demo = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../ops/demo");
    println!("cargo::rerun-if-changed=../control-migrations");
    println!("cargo::rerun-if-changed={}", demo.display());
    let mut files: Vec<_> =
        fs::read_dir(&demo)?.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let mut list = String::from("const DEMO_FILES: &[(&str, &str)] = &[\n");
    for file in files.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")) {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string())?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("demo_files.rs"), list)?;
    Ok(())
}

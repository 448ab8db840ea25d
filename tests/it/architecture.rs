//! The layer rule as a test: a module names only modules whose `mod` line stands above its own in lib.rs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

fn lines_of(folder: &Path, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            lines_of(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            out.extend(code.map(|line| (path.display().to_string(), line.to_owned())));
        }
    }
}

/// Modules by their place in lib.rs.
fn order(root: &Path) -> HashMap<String, usize> {
    let text = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    names.enumerate().map(|(i, name)| (name.to_owned(), i)).collect()
}

#[test]
fn no_module_imports_upward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let order = order(root);
    assert!(order.len() > 10, "the mod lines were found");
    let mut seen = 0;
    for (module, place) in &order {
        let (file, folder) = (root.join(format!("src/{module}.rs")), root.join("src").join(module));
        let mut lines = Vec::new();
        if folder.is_dir() {
            lines_of(&folder, &mut lines);
        } else {
            lines.extend(fs::read_to_string(&file).unwrap().lines().map(|line| (module.clone(), line.to_owned())));
        }
        for (file, line) in lines {
            for (_, rest) in line.match_indices("crate::").map(|(at, found)| line.split_at(at + found.len())) {
                let named: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let Some(other) = order.get(&named) else { continue };
                seen += 1;
                assert!(other <= place, "{file} names {named}, which stands below {module} in lib.rs: {line}");
            }
        }
    }
    assert!(seen > 50, "the imports were found");
}

#[test]
fn the_server_does_not_link_the_provisioner() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(!dependencies.contains("provisioner"));
}

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
fn order(src: &Path) -> HashMap<String, usize> {
    let text = fs::read_to_string(src.join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    names.enumerate().map(|(i, name)| (name.to_owned(), i)).collect()
}

#[test]
fn no_module_imports_upward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for src in [root.join("src"), root.join("provisioner/src")] {
        let order = order(&src);
        assert!(order.len() > 10, "the mod lines were found");
        let imports: usize = order.iter().map(|(module, place)| checked(&src, &order, module, *place)).sum();
        assert!(imports > 50, "the imports were found");
    }
}

/// How many times a module names another; fails on one that stands below it.
fn checked(src: &Path, order: &HashMap<String, usize>, module: &str, place: usize) -> usize {
    let mut lines = Vec::new();
    let file = src.join(format!("{module}.rs"));
    if file.exists() {
        lines.extend(fs::read_to_string(&file).unwrap().lines().map(|line| (module.to_owned(), line.to_owned())));
    } else {
        lines_of(&src.join(module), &mut lines);
    }
    let mut named = 0;
    for (file, line) in lines {
        for other in names(&line) {
            let Some(at) = order.get(&other) else { continue };
            named += 1;
            assert!(*at <= place, "{file} names {other}, which stands below {module} in lib.rs: {line}");
        }
    }
    named
}

/// What a line names right after `crate::`, a list in braces included.
fn names(line: &str) -> Vec<String> {
    let after = |(at, found): (usize, &str)| line.split_at(at + found.len()).1;
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect() };
    line.match_indices("crate::")
        .map(after)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list.split(',').map(|item| word(item.trim())).collect(),
            None => vec![word(rest)],
        })
        .collect()
}

#[test]
fn the_server_does_not_link_the_provisioner() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(!dependencies.contains("provisioner"));
}

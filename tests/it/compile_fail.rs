//! What the compiler must refuse. Each file of `tests/ui/` names the error code it is to be refused with.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Compiles one file against the library that `./test` has built; gives the compiler's words.
fn compile(file: &Path) -> (bool, String) {
    let built = Path::new(env!("CARGO_BIN_EXE_strowger")).parent().unwrap();
    // Never /dev/null: rustc renames its output into place, and run as root it would put a plain file where the device was.
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail.rmeta");
    let out = Command::new("rustc")
        .args(["--edition", "2024", "--emit", "metadata", "-o"])
        .arg(output)
        .arg("--extern")
        .arg(format!("strowger={}", built.join("libstrowger.rlib").display()))
        .arg("-L")
        .arg(format!("dependency={}", built.join("deps").display()))
        .arg(file)
        .output()
        .unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn the_compiler_refuses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut refused = 0;
    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.strip_prefix("//! ").unwrap().split(':').next().unwrap().to_owned();
        let (compiled, words) = compile(&file);
        if expected == "Compiles" {
            assert!(compiled, "{}: {words}", file.display());
            continue;
        }
        let errors: Vec<&str> = words.lines().filter(|line| line.starts_with("error[")).collect();
        assert!(!compiled && errors.len() == 1 && errors[0].contains(&expected), "{}: {words}", file.display());
        refused += 1;
    }
    assert!(refused >= 6);
}

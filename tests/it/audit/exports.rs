//! What leaves the installation can be checked without it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::busy_tenant;
use crate::support::{Ran, World, run, world};

fn path(w: &World, name: &str) -> PathBuf {
    w.dir.join(name)
}

/// `audit verify --file`, in a place where no installation is known.
fn verify(w: &World, text: &str, more: &[&str]) -> Ran {
    let file = path(w, "given.jsonl");
    fs::write(&file, text).unwrap();
    let nowhere = path(w, "nowhere");
    let args =
        ["--data", nowhere.to_str().unwrap(), "--output", "json", "audit", "verify", "--file", file.to_str().unwrap()];
    run(&[&args[..], more].concat(), "")
}

/// Red when `audit/file.rs` does not hold the rows against the signed heads, or the heads against their signature.
#[test]
fn an_export_proves_itself_and_every_change_to_it_is_found() {
    world(async |w| {
        busy_tenant(&w, "One").await;
        busy_tenant(&w, "Two").await;
        let text = w.ctl(&["audit", "export"]).stdout;
        let key = path(&w, "audit.pem");
        fs::write(&key, w.ctl(&["audit", "key"]).stdout).unwrap();
        let key = ["--key", key.to_str().unwrap()];
        let lines: Vec<&str> = text.lines().collect();
        let rows = lines.iter().filter(|line| line.contains("\"actor\"")).count();
        let report = verify(&w, &text, &key).json();
        assert_eq!((report["rows"].as_u64(), report["chains"].as_u64()), (Some(rows as u64), Some(3)));

        let first = lines.iter().position(|line| line.starts_with("{\"chain\":1,")).unwrap();
        let without = |i: usize| [&lines[..i], &lines[i + 1..]].concat().join("\n") + "\n";
        let swapped = |i: usize, j: usize| {
            let mut lines = lines.clone();
            lines.swap(i, j);
            lines.join("\n") + "\n"
        };
        let last =
            lines.iter().rposition(|line| line.contains("\"actor\"") && line.starts_with("{\"chain\":1,")).unwrap();
        let zeros = "00".repeat(32);
        for (what, changed, says) in [
            ("a column", text.replacen("tenant.transition", "tenant.transitioN", 1), "was changed"),
            ("a removed row", without(first + 2), "row 3 is missing"),
            ("the first row of a chain", without(first), "row 1 is missing"),
            ("the last row of a chain", without(last), "the head says that the chain ends at row"),
            ("two rows in another order", swapped(first + 2, first + 3), "row 3 is missing"),
            ("a row twice", text.replacen(lines[first], &format!("{0}\n{0}", lines[first]), 1), "is there twice"),
            ("the end", lines[..lines.len() - 1].join("\n") + "\n", "without a signature"),
            ("half a line", text[..text.len() - 2].to_owned(), "in the middle of a line"),
            ("the heads", lines[..rows].join("\n") + "\n", "without signed heads"),
            ("a head", without(rows + 2), "signature does not hold"),
            (
                "a signed hash",
                text.replace(&lines[rows + 1][lines[rows + 1].len() - 66..lines[rows + 1].len() - 2], &zeros),
                "",
            ),
            ("no row at all", format!("x\n{text}"), "line 1 is not a row"),
            (
                "digits that are not hashed",
                text.replacen("Z\",\"actor\"", "001Z\",\"actor\"", 1),
                "line 1 is not a row",
            ),
            ("another column", text.replacen("\"actor\"", "\"more\":1,\"actor\"", 1), "line 1 is not a row"),
        ] {
            assert_ne!(changed, text, "{what}");
            let ran = verify(&w, &changed, &key);
            assert_eq!(ran.code, Some(1), "{what}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
        }
    });
}

/// Red when an export of a part does not say, in what is signed, where it begins.
#[test]
fn a_part_of_the_log_proves_itself_too() {
    world(async |w| {
        assert_eq!(w.ctl(&["audit", "key"]).code, Some(0), "made now, so that its row is not among the late ones");
        busy_tenant(&w, "One").await;
        busy_tenant(&w, "Two").await;
        let of_two = w.ctl(&["audit", "export", "--tenant", "2"]).stdout;
        assert!(of_two.lines().filter(|line| line.contains("actor")).all(|line| line.starts_with("{\"chain\":2,")));
        assert_eq!(verify(&w, &of_two, &[]).json()["chains"], 1);

        let row: Value = serde_json::from_str(of_two.lines().nth(3).unwrap()).unwrap();
        let since = row["at"].as_str().unwrap();
        let late = w.ctl(&["audit", "export", "--since", since]).stdout;
        let rows: Vec<Value> = late.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&rows[0]["chain"], &rows[0]["seq"]), (&row["chain"], &row["seq"]), "the other chains end before");
        assert_eq!(verify(&w, &late, &[]).json()["chains"], 1);
        let (_, shorter) = late.split_once('\n').unwrap();
        let ran = verify(&w, shorter, &[]);
        assert_eq!((ran.code, ran.stderr.contains("row 4 is missing")), (Some(1), true), "{}", ran.stderr);

        let file = path(&w, "late.jsonl");
        let out = ["audit", "export", "--since", since, "--out", file.to_str().unwrap()];
        assert_eq!(w.ctl(&out).code, Some(0));
        let held = w.ctl(&["audit", "verify", "--heads", file.to_str().unwrap()]).json();
        assert_eq!(held["signed_heads"], 3, "the heads of an export are heads: {held}");
        for wrong in ["yesterday", "2026-13-01", "2026-07-01T00:00:00"] {
            assert_eq!(w.ctl(&["audit", "export", "--since", wrong]).code, Some(2), "{wrong}");
        }
    });
}

/// With the very lines of SECURITY.md. Red when anything but the bytes before the last line is signed.
#[test]
fn signed_heads_are_checked_with_openssl() {
    world(async |w| {
        busy_tenant(&w, "One").await;
        let [heads, key] = ["heads", "audit.pem"].map(|name| path(&w, name));
        assert_eq!(w.ctl(&["audit", "heads", "--out", heads.to_str().unwrap()]).code, Some(0));
        fs::write(&key, w.ctl(&["audit", "key"]).stdout).unwrap();
        let document = include_str!("../../../SECURITY.md");
        let lines =
            document.split("```sh\n").find(|text| text.contains("openssl")).unwrap().split("```").next().unwrap();
        let check = || {
            let ran = Command::new("sh").arg("-ec").arg(lines).current_dir(&w.dir).output().unwrap();
            (ran.status.success(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap())
        };
        let (holds, said) = check();
        assert!(holds && said.contains("Signature Verified Successfully"), "{said}");

        let text = fs::read_to_string(&heads).unwrap();
        let statement: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(statement["public_key"], fs::read_to_string(&key).unwrap().as_str());
        assert_eq!(statement["installation"], w.prefix.as_str());
        fs::write(&heads, text.replacen("\"seq\":", "\"seq\":1", 1)).unwrap();
        assert!(!check().0, "the control: a changed one is refused");
    });
}

/// Red when `verify --heads` takes the key that the file names for the installation's.
#[test]
fn heads_of_another_key_prove_nothing() {
    world(async |w| {
        busy_tenant(&w, "One").await;
        let (file, key) = (path(&w, "heads"), path(&w, "audit.pem"));
        let file = file.to_str().unwrap();
        assert_eq!(w.ctl(&["audit", "heads", "--out", file]).code, Some(0));
        fs::write(&key, w.ctl(&["audit", "key"]).stdout).unwrap();
        let changed = fs::read_to_string(file).unwrap().replacen("\"seq\":", "\"seq\":1", 1);
        fs::write(path(&w, "changed"), changed).unwrap();
        let ran = w.ctl(&["audit", "verify", "--heads", path(&w, "changed").to_str().unwrap()]);
        assert_eq!((ran.code, ran.stderr.contains("signature does not hold")), (Some(1), true), "{}", ran.stderr);

        // Who owns the control database and no ring can only make the key anew.
        let db = w.superuser("control", &w.prefix.name("control")).await;
        db.batch_execute("delete from audit_key").await.unwrap();
        let other = w.ctl(&["audit", "export"]).stdout;
        let ran = w.ctl(&["audit", "verify", "--heads", file]);
        assert_eq!((ran.code, ran.stderr.contains("another key")), (Some(1), true), "{}", ran.stderr);
        let ran = verify(&w, &other, &["--key", key.to_str().unwrap()]);
        assert_eq!((ran.code, ran.stderr.contains("another key")), (Some(1), true), "{}", ran.stderr);
        assert_eq!(verify(&w, &other, &[]).code, Some(0), "by itself it cannot tell, and says so");
        assert!(verify(&w, &other, &[]).stderr.contains("--key"));
        let ran = verify(&w, &fs::read_to_string(file).unwrap(), &[]);
        assert_eq!((ran.code, ran.stderr.contains("--heads")), (Some(3), true), "{}", ran.stderr);
    });
}

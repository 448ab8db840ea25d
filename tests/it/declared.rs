//! `strowgerctl apply` makes what a file says, and `export` writes what there is.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{World, strowgerctl, world};

/// The example of `ops/`, with what its environment variables hold.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/apply.toml");
const VARIABLES: [(&str, &str); 2] = [("EXAMPLE_TWILIO_TOKEN", "canary-token"), ("EXAMPLE_MODEL_KEY", "canary-key")];

/// A `strowgerctl` with environment variables: exit code, result, everything it said.
fn ctl(w: &World, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(strowgerctl());
    command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["--output", "json"]).args(args);
    let ran = command.envs(variables.iter().copied()).stdin(std::process::Stdio::null()).output().unwrap();
    let (out, said) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    assert!(!out.contains("canary") && !said.contains("canary"), "no secret is printed: {out}{said}");
    (ran.status.code(), serde_json::from_str(&out).unwrap_or(Value::Null), said)
}

/// Applies a file, which must go well: the changes.
fn apply(w: &World, file: &str, more: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let (code, result, said) = ctl(w, &[&["apply", "-f", file], more].concat(), variables);
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_value(result["changes"].clone()).unwrap()
}

async fn audit_rows(w: &World) -> i64 {
    let db = w.superuser("control", &w.prefix.name("control")).await;
    db.query_one("select count(*) from audit", &[]).await.unwrap().get(0)
}

fn write(w: &World, name: &str, text: &str) -> String {
    let path = w.dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Turns red when a dry run makes something, when what is so already is made again (a secret sealed anew has its audit row), and when
/// the export leaves something out.
#[test]
fn a_file_is_made_so_once_and_an_export_of_it_changes_nothing() {
    world(async |w| {
        let before = audit_rows(&w).await;
        let planned = apply(&w, EXAMPLE, &["--dry-run"], &VARIABLES);
        assert_eq!((planned.len(), audit_rows(&w).await), (9, before), "{planned:?}");
        assert_eq!(apply(&w, EXAMPLE, &[], &VARIABLES), planned);
        let tenants = w.ctl(&["tenant", "list"]).json();
        assert_eq!((&tenants[0]["state"], &tenants[0]["cluster"]), (&json!("active"), &json!("shared")));
        assert_eq!((&tenants[1]["state"], &tenants[1]["state_reason"]), (&json!("suspended"), &json!("not open yet")));
        let schedules = w.ctl(&["backup", "schedule", "list"]).json();
        let of = |name: &str| schedules[0][name].clone();
        assert_eq!(
            [of("every"), of("at"), of("keep_weekly"), of("tenants")],
            [json!("1d"), json!("02:30"), json!(4), json!(2)]
        );
        let numbers = w.ctl(&["number", "list"]).json();
        let of = |i: usize| (numbers[i]["customer_id"].clone(), numbers[i]["state"].clone());
        assert_eq!([of(0), of(1)], [(json!(1), json!("active")), (json!(2), json!("active"))]);

        let made = audit_rows(&w).await;
        assert_eq!(apply(&w, EXAMPLE, &["--prune"], &VARIABLES), Vec::<String>::new(), "run again");
        assert_eq!(apply(&w, EXAMPLE, &[], &[]), Vec::<String>::new(), "without its variables");
        let exported = w.ctl(&["export"]);
        assert_eq!(exported.code, Some(0), "{}", exported.stderr);
        assert!(!exported.stdout.contains("canary"), "{}", exported.stdout);
        let export = write(&w, "export.toml", &exported.stdout);
        assert_eq!(apply(&w, &export, &["--prune"], &[]), Vec::<String>::new(), "{}", exported.stdout);
        let (token, key) = ("STROWGER_TOKEN_AC00000000000000000000000000000201", "STROWGER_SECRET_T1_MODEL_KEY");
        assert_eq!(apply(&w, &export, &[], &[(token, "canary-token"), (key, "canary-key")]), Vec::<String>::new());
        assert_eq!(audit_rows(&w).await, made, "nothing was written anew");

        let rarer = exported.stdout.replace("every = \"1d\"", "every = \"2d\"");
        let rarer = apply(&w, &write(&w, "rarer.toml", &rarer), &[], &[]);
        let kept = "kept: 7 daily, 4 weekly, 12 monthly";
        assert_eq!(rarer, [format!("~ backup schedule of all that have none of their own: every 2d at 02:30, {kept}")]);
        assert_eq!(w.ctl(&["backup", "schedule", "list"]).json()[0]["every"], "2d");
        apply(&w, &export, &[], &[]);

        let other = apply(&w, &export, &[], &[(token, "canary-other"), (key, "canary-key")]);
        assert_eq!(other, ["~ account AC00000000000000000000000000000201 of the platform: another token"]);
        let resumed = std::fs::read_to_string(EXAMPLE).unwrap().replace("state = \"suspended\"", "state = \"active\"");
        let resumed = write(&w, "resumed.toml", &resumed);
        assert_eq!(apply(&w, &resumed, &[], &[]), ["~ tenant \"Second Example\": active"]);
        w.as_tenant(2.try_into().unwrap()).await.query_one("select 1 from identity", &[]).await.unwrap();
    });
}

/// Turns red when `--prune` needs no word of consent, and when an account goes before its numbers.
#[test]
fn what_a_file_does_not_name_is_taken_away_only_when_that_is_meant() {
    world(async |w| {
        apply(&w, EXAMPLE, &[], &VARIABLES);
        let empty = write(&w, "empty.toml", "");
        assert_eq!(apply(&w, &empty, &[], &[]), Vec::<String>::new());
        let before = audit_rows(&w).await;
        let (code, _, said) = ctl(&w, &["apply", "-f", &empty, "--prune"], &[]);
        assert_eq!((code, said.contains("--yes")), (Some(3), true), "{said}");
        assert_eq!(audit_rows(&w).await, before);
        assert_eq!(apply(&w, &empty, &["--prune", "--yes"], &[]).len(), 4);
        assert_eq!(w.ctl(&["account", "list"]).json(), json!([]));
        assert_eq!(w.ctl(&["tenant", "list"]).json().as_array().unwrap().len(), 2, "tenants stay");
        assert_eq!(apply(&w, &empty, &["--prune"], &[]), Vec::<String>::new());
        assert_eq!(apply(&w, EXAMPLE, &[], &VARIABLES).len(), 4, "and come back");
    });
}

/// Turns red when a mistake is found only when its turn comes.
#[test]
fn a_file_with_a_mistake_changes_nothing() {
    world(async |w| {
        let text = std::fs::read_to_string(EXAMPLE).unwrap();
        let before = audit_rows(&w).await;
        for (from, to, says) in [
            ("tenant = \"Second Example\"\n", "tenant = \"Nobody\"\n", "there is no tenant \"Nobody\""),
            ("region = \"KE\"", "region = \"KE\"\ncluster = \"missing\"", "named missing"),
            ("{ env = \"EXAMPLE_MODEL_KEY\" }", "\"canary\"", "use { env = "),
            ("{ env = \"EXAMPLE_MODEL_KEY\" }", "{ file = \"canary\" }", "the secret's file cannot be read"),
            (
                "{ env = \"EXAMPLE_MODEL_KEY\" }",
                "{ env = \"UNSET_canary\" }",
                "the environment variable with the secret",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let file = write(&w, "wrong.toml", &text.replacen(from, to, 1));
            let (code, _, said) = ctl(&w, &["apply", "-f", &file], &VARIABLES);
            assert_eq!((code, said.contains(says)), (Some(3), true), "{says}: {said}");
            assert!(said.contains("wrong.toml") && said.contains("line "), "{said}");
        }
        assert_eq!(audit_rows(&w).await, before);

        // A secret's file is beside the file that names it.
        write(&w, "key", "canary-key\n");
        let file = write(&w, "beside.toml", &text.replace("{ env = \"EXAMPLE_MODEL_KEY\" }", "{ file = \"key\" }"));
        assert_eq!(apply(&w, &file, &[], &VARIABLES).len(), 9);
        assert_eq!(apply(&w, EXAMPLE, &[], &VARIABLES), Vec::<String>::new(), "the line's end is not part of it");
        assert!(Path::new(&file).exists());
    });
}

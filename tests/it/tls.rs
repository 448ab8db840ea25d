//! A cluster across an untrusted network: encrypted, and its name checked against the operator's own authority.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use provisioner::embedded::{Durability, Embedded};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_postgres::Client;

use crate::moves::beside;
use crate::support::world;

/// An authority, and a certificate of its for `localhost`: PEMs of authority, certificate and key.
fn certificates() -> (String, String, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

/// Puts certificate and key where Postgres reads them, owned by whoever owns the cluster.
fn install(data: &Path, certificate: &str, key: &str) {
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        let file = data.join(name);
        fs::write(&file, text).unwrap();
        assert!(Command::new("chmod").arg("600").arg(&file).status().unwrap().success());
        assert!(Command::new("chown").arg("--reference").arg(data).arg(&file).status().unwrap().success());
    }
    let conf = data.join("postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(conf, text + "\nssl = on\n").unwrap();
}

/// How a move ended, during which another server has come for what is written, by TLS and never without.
async fn sent_encrypted(watching: &Client, moving: impl Future<Output = Output>) -> Output {
    let sql = "select s.ssl from pg_stat_ssl s join pg_stat_replication r using (pid) where r.usename like '%\\_move'";
    let seen = Cell::new(0);
    let looking = async {
        loop {
            let all = watching.query(sql, &[]).await.unwrap();
            assert!(all.iter().all(|row| row.get(0)), "without TLS");
            seen.set(seen.get() + all.len());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::select! {
        ended = moving => ended,
        () = looking => unreachable!("it looks for ever"),
    };
    assert!(seen.get() > 0, "nobody was seen to replicate: {ended:?}");
    ended
}

#[test]
fn a_cluster_is_reached_encrypted_and_only_if_its_certificate_holds() {
    world(async |w| {
        let dir = w.dir.with_extension("tls");
        Embedded::start(&dir, Durability::None, &|_| ()).await.unwrap().stop().unwrap();
        let (authority, certificate, key) = certificates();
        install(&dir.join("postgres/shared"), &certificate, &key);
        let private = Embedded::start(&dir, Durability::None, &|_| ()).await.unwrap();
        let superuser = private.superuser("shared").unwrap();
        let password = superuser.password.expose_str().unwrap();
        let url = |host: &str, mode: &str| {
            format!("postgres://postgres:{password}@{host}:{}/postgres{mode}", superuser.address.port)
        };
        let (good, wrong) = (dir.join("good.pem"), dir.join("wrong.pem"));
        fs::write(&good, authority).unwrap();
        fs::write(&wrong, certificates().0).unwrap();
        let (good, wrong) = (good.to_str().unwrap(), wrong.to_str().unwrap());

        let add = ["cluster", "add", "far", "--kind", "shared", "--ca"];
        for (ca, host, mode) in [
            (wrong, "localhost", "?sslmode=verify-full"),
            (good, "127.0.0.1", "?sslmode=verify-full"),
            (good, "localhost", "?sslmode=require"),
        ] {
            let ran = w.ctl_with(&[&add[..], &[ca]].concat(), &url(host, mode));
            assert_ne!(ran.code, Some(0), "{ca} {host} {mode}");
        }
        w.ctl_with(&[&add[..], &[good]].concat(), &url("localhost", "?sslmode=verify-full")).json();

        let tenant = w.ctl(&["tenant", "create", "--name", "Far", "--isolation", "schema", "--cluster", "far"]).json();
        let id = tenant["customer_id"].to_string();
        let account = w.account(1, None).await;
        w.ctl(&["number", "assign", "+18005550100", "--tenant", &id]).json();
        let server = w.server();
        assert_eq!(account.dial(&server, "+15551234567", "+18005550100").await.status(), 200);
        let watching = crate::support::connect(&url("127.0.0.1", "")).await.unwrap();
        let sql = "select bool_and(s.ssl), count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) where a.usename ~ '_t[0-9]+_a$'";
        let row = watching.query_one(sql, &[]).await.unwrap();
        assert_eq!(
            (row.get::<_, Option<bool>>(0), row.get::<_, i64>(1)),
            (Some(true), 1),
            "the tenant's connection is encrypted"
        );

        // Online another server reaches this one, without a file to check its certificate against.
        for (cluster, superuser) in
            [("far", url("localhost", "?sslmode=verify-full")), ("dedicated", w.own_superuser_url("dedicated"))]
        {
            w.ctl_with(&["cluster", "online", cluster], &superuser).json();
        }
        let away = ["tenant", "move", &id, "--to", "dedicated"];
        let moved = sent_encrypted(&watching, beside(&w, &away)).await;
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
        assert_eq!(account.dial(&server, "+15551234567", "+18005550100").await.status(), 200);
        for (command, cluster) in
            [(&["tenant", "move", &id, "--undo"][..], "far"), (&[&away[..], &["--offline"]].concat(), "dedicated")]
        {
            assert_eq!(w.ctl(command).json()["cluster"], cluster);
            assert_eq!(account.dial(&server, "+15551234567", "+18005550100").await.status(), 200);
        }
        drop(server);
        private.stop().unwrap();
        fs::remove_dir_all(&dir).unwrap();
    });
}

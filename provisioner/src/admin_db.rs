//! The provisioner's own connections, and the only place that quotes identifiers.

use strowger::control::clusters::{self, Address, Cluster};
use strowger::pg::{self, Connector};
use strowger::vault::Secret;
use tokio_postgres::{Client, Config, Row, Transaction};

use crate::Provisioner;
use crate::error::{Error, Result};

/// An identifier as SQL. Ours are made of ids and a checked prefix; quoting is the second lock on the door.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL, for the statements that take no parameters.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")).replacen(
        '\'',
        if text.contains('\\') { "E'" } else { "'" },
        1,
    )
}

/// Opens a connection and drives it in the background.
pub(crate) async fn connect(config: Config, address: &Address, what: &str) -> Result<Client> {
    let failed = || Error::postgres(format!("connect to {what}"));
    match pg::connector(&address.tls).map_err(|e| Error::Conflict(e.to_string()))? {
        Connector::Plain(plain) => {
            let (client, connection) = config.connect(plain).await.map_err(failed())?;
            tokio::spawn(connection);
            Ok(client)
        }
        Connector::Tls(tls) => {
            let (client, connection) = config.connect(tls).await.map_err(failed())?;
            tokio::spawn(connection);
            Ok(client)
        }
    }
}

/// A configuration for a login on a cluster.
pub(crate) fn login(address: &Address, user: &str, password: &Secret, database: &str) -> Config {
    let mut config = pg::config(address);
    config.user(user).password(password.expose()).dbname(database).application_name("strowgerctl");
    config
}

/// A session as the installation's admin role in one database of one cluster.
pub(crate) struct AdminDb {
    client: Client,
    what: String,
}

impl AdminDb {
    /// Logs in with the sealed credential and takes on the admin role.
    pub(crate) async fn open(with: &Provisioner, cluster: &Cluster, database: &str) -> Result<Self> {
        let (user, sealed) = clusters::admin(&with.control, cluster.id).await?;
        let key = with.platform_key(strowger::control::keys::Ring::Admin).await?;
        let password = key
            .open(&user, &sealed)
            .map_err(Error::vault(format!("the admin credential of cluster {}", cluster.name)))?;
        let what = format!("database {database} on cluster {}", cluster.name);
        let client = connect(login(&cluster.address, &user, &password, database), &cluster.address, &what).await?;
        let db = Self { client, what };
        db.run(&format!("set role {}", ident(&with.installation.prefix.name("admin")))).await?;
        Ok(db)
    }

    /// Runs statements without parameters.
    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Runs one query.
    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.client.query(sql, params).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Whether a query has a row.
    pub(crate) async fn exists(&self, sql: &str, name: &str) -> Result<bool> {
        Ok(!self.query(sql, &[&name]).await?.is_empty())
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>> {
        self.client.transaction().await.map_err(Error::postgres(self.what.clone()))
    }

    /// For error texts.
    pub(crate) fn what(&self) -> String {
        self.what.clone()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        assert_eq!(super::ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(super::literal("a'b"), "'a''b'");
        assert_eq!(super::literal("a\\'b"), "E'a\\\\''b'");
    }
}

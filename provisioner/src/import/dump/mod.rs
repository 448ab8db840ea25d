//! A plain SQL dump, loaded into a throwaway Postgres to be read from there like any other source.
//!
//! A stranger's dump is a program. It runs as a login that may do nothing but own one database, in a cluster that holds nothing else
//! and is deleted afterwards; no psql is involved, so nothing in it can reach a shell or a file.

mod scan;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Cursor, Read as _};
use std::path::Path;

use futures_util::SinkExt as _;
use strowger::pg;
use strowger::vault::Secret;
use tokio_postgres::{Client, CopyInSink};

use self::scan::{Piece, Scanner, reads_rows};
use crate::admin_db::{ident, literal};
use crate::bootstrap::Superuser;
use crate::embedded::Throwaway;
use crate::error::{Error, Result};

const LOADER: &str = "loader";
/// The database that a dump is loaded into.
pub(super) const DATABASE: &str = "source";
/// Rows are sent on in packets of about this size.
const PACKET: usize = 256 * 1024;

/// A dump that was loaded, for as long as this lives.
pub(super) struct Loaded {
    /// Who may read it.
    pub(super) login: Superuser,
    /// Statements that failed and that no row depends on, each with its line.
    pub(super) skipped: Vec<String>,
    _cluster: Throwaway,
}

/// Looks for what would be refused, and loads it if there is nothing.
pub(super) async fn load(path: &Path) -> Result<Loaded> {
    check(path)?;
    let cluster = Throwaway::start()?;
    let login = make_login(cluster.superuser()).await?;
    let client = login.connect(DATABASE).await?;
    let skipped = run(path, &client).await?;
    Ok(Loaded { login, skipped, _cluster: cluster })
}

/// A login that owns one database and can do nothing else.
async fn make_login(superuser: &Superuser) -> Result<Superuser> {
    let (db, password) = (superuser.connect("postgres").await?, Secret::random_password());
    let text = literal(password.expose_str().unwrap_or_default());
    for sql in [
        format!(
            "create role {} login nosuperuser nocreatedb nocreaterole noreplication password {text}",
            ident(LOADER)
        ),
        format!("create database {} owner {}", ident(DATABASE), ident(LOADER)),
    ] {
        db.batch_execute(&sql).await.map_err(Error::postgres("prepare the throwaway Postgres"))?;
    }
    Ok(Superuser { address: superuser.address.clone(), user: LOADER.into(), password })
}

/// The lines of a dump, one after the other.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<Vec<u8>>>> {
    let doing = format!("read {}", path.display());
    let mut file = BufReader::with_capacity(PACKET, File::open(path).map_err(Error::io(doing.clone()))?);
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        match file.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(line)),
            Err(error) => Some(Err(Error::io(doing.clone())(error))),
        }
    }))
}

/// Reads all of it once, before anything is started for it.
fn check(path: &Path) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(5).read_to_end(&mut head));
    read.map_err(Error::io(format!("read {}", path.display())))?;
    if head == b"PGDMP" || head.starts_with(&[0x1f, 0x8b]) {
        let what = "is an archive, not a plain dump: `pg_restore -f dump.sql` or gunzip makes one of it";
        return Err(Error::Conflict(format!("{} {what}", path.display())));
    }
    let mut scanner = Scanner::new();
    let refused = |refused: scan::Refused| Error::Conflict(format!("{}, {refused}", path.display()));
    for line in lines(path)? {
        scanner.feed(&line?).map_err(refused)?;
    }
    scanner.end().map_err(refused).map(drop)
}

async fn run(path: &Path, client: &Client) -> Result<Vec<String>> {
    let (mut scanner, mut loading) = (Scanner::new(), Loading { client, copy: None, skipped: Vec::new() });
    let refused = |refused: scan::Refused| Error::Conflict(format!("{}, {refused}", path.display()));
    for line in lines(path)? {
        for piece in scanner.feed(&line?).map_err(refused)? {
            loading.take(piece).await?;
        }
    }
    if let Some(piece) = scanner.end().map_err(refused)? {
        loading.take(piece).await?;
    }
    Ok(loading.skipped)
}

/// A dump on its way into the database.
struct Loading<'c> {
    client: &'c Client,
    copy: Option<Copy>,
    skipped: Vec<String>,
}

struct Copy {
    line: usize,
    sink: std::pin::Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>,
    packet: Vec<u8>,
}

impl Loading<'_> {
    async fn take(&mut self, piece: Piece) -> Result<()> {
        match piece {
            Piece::Statement(line, sql) if reads_rows(&sql) => {
                let sink = self.client.copy_in(&sql).await.map_err(failed(line))?;
                self.copy = Some(Copy { line, sink: Box::pin(sink), packet: Vec::with_capacity(PACKET) });
                Ok(())
            }
            Piece::Statement(line, sql) => self.statement(line, &sql).await,
            Piece::Rows(row) => match &mut self.copy {
                Some(copy) => copy.row(&row).await,
                None => Ok(()),
            },
            Piece::EndOfRows => match self.copy.take() {
                Some(copy) => copy.finish().await,
                None => Ok(()),
            },
        }
    }

    /// What no row depends on may fail: owners, grants and extensions of where the dump comes from are not here.
    async fn statement(&mut self, line: usize, sql: &str) -> Result<()> {
        match self.client.batch_execute(sql).await {
            Ok(()) => Ok(()),
            Err(error) if error.code().is_some() && !makes_rows(sql) => {
                self.skipped.push(format!("line {line}: {}", pg::describe(&error)));
                Ok(())
            }
            Err(error) => Err(failed(line)(error)),
        }
    }
}

impl Copy {
    async fn row(&mut self, row: &[u8]) -> Result<()> {
        self.packet.extend(row);
        if self.packet.len() >= PACKET { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<()> {
        let packet = std::mem::replace(&mut self.packet, Vec::with_capacity(PACKET));
        self.sink.send(Cursor::new(packet)).await.map_err(failed(self.line))
    }

    async fn finish(mut self) -> Result<()> {
        self.send().await?;
        self.sink.as_mut().finish().await.map_err(failed(self.line)).map(drop)
    }
}

/// Whether rows would be missing if it failed.
fn makes_rows(sql: &str) -> bool {
    let words: Vec<String> = sql.split_ascii_whitespace().take(3).map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matches!(
        words[..],
        ["insert" | "update" | "delete" | "copy" | "with", ..]
            | ["create", "table", ..]
            | ["create", "unlogged", "table"]
    )
}

/// Not Postgres's message: it can quote a row.
fn failed(line: usize) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |error| {
        let what = pg::describe(&error);
        Error::Conflict(format!("the dump's statement at line {line} failed: {what}. Nothing was imported"))
    }
}

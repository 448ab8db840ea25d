//! Proxies in front of Postgres that count statements and can stop a client at any one of them.
//!
//! A statement is a message that makes Postgres carry something out: a simple Query (`Q`) or an Execute (`E`). What comes
//! with an Execute (Parse, Bind, Describe, Sync) changes nothing by itself. All proxies of a [`Tap`] share one count, so the
//! statements of a program that talks to several servers have one order.
//!
//! Whatever its sender waits for ends with a simple Query or a Sync (`S`), a Parse too: these are the round trips.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// At which moment of a statement its sender is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It never reaches Postgres.
    Unsent,
    /// It has just been sent: Postgres may still be at it.
    UnderWay,
    /// Postgres is done with it and the answer is lost.
    Unanswered,
    /// It never reaches Postgres: the connection breaks, and its sender lives on.
    CutUnsent,
    /// Postgres is done with it, the answer is lost with the connection, and its sender lives on.
    CutUnanswered,
    /// It waits on its way to Postgres until it is let go on.
    Paused,
}

impl Moment {
    /// Whether the connection breaks under a sender that lives on, which is otherwise held until it is killed.
    pub(crate) fn is_cut(self) -> bool {
        matches!(self, Self::CutUnsent | Self::CutUnanswered)
    }
}

#[derive(Default)]
struct State {
    seen: usize,
    round_trips: usize,
    trap: Option<(usize, Moment)>,
    /// Whether every statement is paused.
    every: bool,
}

/// The shared count, and the trap.
#[derive(Clone)]
pub(crate) struct Tap {
    state: Arc<Mutex<State>>,
    sprung: Arc<Semaphore>,
    going_on: Arc<Semaphore>,
    /// Only sessions whose startup says so are counted.
    of: &'static str,
    /// And those that say this are not.
    but: Option<&'static str>,
}

impl Tap {
    /// Counts what sessions send that name themselves with this; an empty text is in every name.
    pub(crate) fn of(program: &'static str) -> Self {
        Self {
            state: Arc::default(),
            sprung: Arc::new(Semaphore::new(0)),
            going_on: Arc::new(Semaphore::new(0)),
            of: program,
            but: None,
        }
    }

    /// The same, for all sessions but those that name themselves with this.
    pub(crate) fn of_all_but(program: &'static str) -> Self {
        Self { but: Some(program), ..Self::of("") }
    }

    /// A proxy in front of `target`; returns its port.
    pub(crate) async fn before(&self, target: SocketAddr) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tap = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                let tap = tap.clone();
                tokio::spawn(async move { tap.pass(client, server).await });
            }
        });
        port
    }

    /// Counts from nothing, and stops whoever sends statement number `at`.
    pub(crate) fn arm(&self, trap: Option<(usize, Moment)>) {
        self.going_on.forget_permits(Semaphore::MAX_PERMITS);
        self.sprung.forget_permits(Semaphore::MAX_PERMITS);
        *self.state.lock().unwrap() = State { trap, ..State::default() };
    }

    /// Whether every statement is paused from here on.
    pub(crate) fn pause_each(&self, pause: bool) {
        self.state.lock().unwrap().every = pause;
    }

    /// Lets a paused statement go on.
    pub(crate) fn go_on(&self) {
        self.going_on.add_permits(1);
    }

    /// Pauses none from here on, and lets go on those that are paused.
    pub(crate) fn let_all_go_on(&self) {
        self.pause_each(false);
        self.going_on.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Statements seen since.
    pub(crate) fn seen(&self) -> usize {
        self.state.lock().unwrap().seen
    }

    /// Round trips seen since, those of a connection's startup left out.
    pub(crate) fn round_trips(&self) -> usize {
        self.state.lock().unwrap().round_trips
    }

    /// Done once the trap has caught its statement at its moment.
    pub(crate) async fn sprung(&self) {
        self.sprung.acquire().await.unwrap().forget();
    }

    /// Both directions of one connection. When the client is gone, so is the connection to the server.
    async fn pass(&self, client: TcpStream, server: TcpStream) {
        // A message a write: without this each would wait for the one before it to be acknowledged.
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, mut to_client) = client.into_split();
        let (mut from_server, to_server) = server.into_split();
        let mut sending = std::pin::pin!(self.send(from_client, to_server));
        tokio::select! {
            caught = &mut sending => if let Ok(Some(Caught { mut client, server, moment })) = caught {
                if matches!(moment, Moment::Unanswered | Moment::CutUnanswered) {
                    wait_for_ready(&mut from_server).await;
                }
                if moment.is_cut() {
                    return;
                }
                self.sprung.add_permits(1);
                // The server hears of the client's death only once it is dead.
                let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                drop(server);
            },
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        }
    }

    /// Passes messages on, until the client ends or the trap catches one.
    async fn send(&self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> std::io::Result<Option<Caught>> {
        let ours = loop {
            if let Some(startup) = pass_startup(&mut client, &mut server).await? {
                // A server that runs beside the program under test comes through here too, and is left alone.
                let name = String::from_utf8_lossy(&startup);
                break name.contains(self.of) && !self.but.is_some_and(|but| name.contains(but));
            }
        };
        let mut caught = None;
        loop {
            let Ok(kind) = client.read_u8().await else { return Ok(None) };
            let length = client.read_u32().await?;
            let mut message = vec![kind];
            message.extend(length.to_be_bytes());
            message.resize(1 + usize::try_from(length).unwrap(), 0);
            client.read_exact(&mut message[5..]).await?;
            if matches!(kind, b'Q' | b'S') {
                self.state.lock().unwrap().round_trips += 1;
            }
            if ours && matches!(kind, b'Q' | b'E') && caught.is_none() {
                caught = self.count();
            }
            if caught == Some(Moment::Paused) {
                self.sprung.add_permits(1);
                self.going_on.acquire().await.unwrap().forget();
                caught = None;
            }
            if let Some(moment) = caught.filter(|moment| matches!(moment, Moment::Unsent | Moment::CutUnsent)) {
                return Ok(Some(Caught { client, server, moment }));
            }
            server.write_all(&message).await?;
            // An Execute is carried out for good with the Sync that follows it.
            if let Some(moment) = caught.filter(|_| matches!(kind, b'Q' | b'S')) {
                return Ok(Some(Caught { client, server, moment }));
            }
        }
    }

    fn count(&self) -> Option<Moment> {
        let mut state = self.state.lock().unwrap();
        state.seen += 1;
        if state.every {
            return Some(Moment::Paused);
        }
        state.trap.filter(|(at, _)| *at == state.seen).map(|(_, moment)| moment)
    }
}

struct Caught {
    client: OwnedReadHalf,
    server: OwnedWriteHalf,
    moment: Moment,
}

/// The messages without a type: a request for TLS (refused by our servers), then the startup. What the last of them says.
async fn pass_startup(client: &mut OwnedReadHalf, server: &mut OwnedWriteHalf) -> std::io::Result<Option<Vec<u8>>> {
    const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];
    let (length, code) = (client.read_u32().await?, client.read_u32().await?);
    let mut rest = vec![0; usize::try_from(length).unwrap() - 8];
    client.read_exact(&mut rest).await?;
    server.write_all(&[&length.to_be_bytes()[..], &code.to_be_bytes(), &rest].concat()).await?;
    Ok((!ENCRYPTION_REQUESTS.contains(&code)).then_some(rest))
}

/// Reads what Postgres answers until it is ready for the next statement, or for rows, which do not come; nobody gets to see it.
async fn wait_for_ready(server: &mut OwnedReadHalf) {
    while let Ok(kind) = server.read_u8().await {
        let length = server.read_u32().await.unwrap();
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        server.read_exact(&mut body).await.unwrap();
        if matches!(kind, b'Z' | b'G') {
            return;
        }
    }
}

//! The model client against a provider that behaves like one, failures included.

mod spending;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use strowger::app::model::{Model, NoModel, Prompt, Purpose, Role, Said};
use strowger::auth::{Principal, Scope, jwt};
use strowger::clock::Clock;
use strowger::control::changes::LISTENER_PREFIX;
use strowger::control::clusters::Isolation;
use strowger::control::{Control, installation};
use strowger::directory::{self, Directory, Staleness};
use strowger::id::TenantId;
use strowger::persona::{Configuration, Consent};
use strowger::providers::http::{Http, HttpError};
use strowger::providers::model::{self as provider, Chat, Endpoint, ModelError};
use strowger::vault::Secret;
use tokio::sync::oneshot;

use crate::support::model_stub::{Failing, ModelStub, PROVIDERS_WORDS};
use crate::support::{Proxy, World, world};

/// What a tenant that has said nothing else gives.
fn consent() -> Consent {
    Configuration::default().consent().unwrap()
}

const WORDS: &str = "canary-of-a-caller";

/// One server's model, following what is announced, as a server does.
struct Desk {
    model: Model,
    directory: Arc<Directory>,
    watching: tokio::task::JoinHandle<()>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Desk {
    async fn open(w: &World) -> Self {
        Self::at(w, &w.urls.server).await
    }

    async fn at(w: &World, url: &str) -> Self {
        let control = Control::lazy(url, "desk", 4).unwrap();
        let directory = Directory::new(control, w.server_ring.clone(), &Clock::system(), Staleness::default());
        let directory = Arc::new(directory);
        let name = format!("desk{}", uuid::Uuid::new_v4().simple());
        let listening = Control::lazy(url, &format!("{LISTENER_PREFIX}{name}"), 1).unwrap();
        let (first, listens) = oneshot::channel();
        let watching = tokio::spawn(directory::watch(Arc::clone(&directory), listening, name, first));
        listens.await.unwrap();
        let model = Model::new(Arc::clone(&directory), Http::new().unwrap());
        Self { model, directory, watching }
    }

    async fn who(&self, w: &World, tenant: TenantId) -> Principal {
        let token = w.token(tenant, &[Scope::ReadCalls]).await;
        let installation = installation::get(self.directory.control()).await.unwrap().unwrap();
        jwt::verify(&self.directory, &installation, &token).await.unwrap().principal
    }

    async fn chat(&self, who: &Principal) -> Result<String, NoModel> {
        self.chat_for(who, Purpose::Turn, 50).await
    }

    async fn chat_for(&self, who: &Principal, purpose: Purpose, max_tokens: u32) -> Result<String, NoModel> {
        let said = [Said { role: Role::Assistant, text: "Hello" }, Said { role: Role::User, text: WORDS }];
        self.model.chat(who, consent(), purpose, &Prompt { system: "Be kind.", messages: &said, max_tokens }).await
    }
}

async fn tenant(w: &World, name: &str) -> TenantId {
    w.tenant(name, Isolation::Schema).await.id
}

/// The platform's model, allowed to all.
fn platform(w: &World, stub: &ModelStub) {
    let set = [
        "model",
        "set",
        "--base-url",
        &stub.base_url,
        "--chat-model",
        "talk-1",
        "--embedding-model",
        "vec-1",
        "--allow",
        "yes",
    ];
    w.ctl(&set).json();
    assert_eq!(w.ctl_with(&["secret", "set", "model.api_key"], "sk-platform\n").code, Some(0));
}

fn usage(w: &World, tenant: TenantId) -> Vec<Value> {
    w.ctl(&["usage", "show", "--tenant", &tenant.to_string()]).json().as_array().unwrap().clone()
}

async fn spent(w: &World, tenant: TenantId) -> i64 {
    let db = w.superuser("control", &w.prefix.name("control")).await;
    let sql = "select coalesce(sum(spent), 0)::bigint from token_budgets where tenant_id = $1";
    db.query_one(sql, &[&i32::from(tenant)]).await.unwrap().get(0)
}

/// What is logged while this lives, at every level, by this thread.
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_providers_words_a_callers_words_and_the_key_are_in_no_error_and_no_log() {
    world(async |w| {
        let stub = ModelStub::start().await;
        let one = tenant(&w, "One").await;
        platform(&w, &stub);
        let desk = Desk::open(&w).await;
        let who = desk.who(&w, one).await;
        let log = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&log);
        let subscriber =
            tracing_subscriber::fmt().with_env_filter("trace").with_writer(move || Log(Arc::clone(&into))).finish();
        let listening = tracing::subscriber::set_default(subscriber);
        tracing::info!("the control: this is logged");
        let cases: [(&[Failing], &str); 7] = [
            (&[Failing::Status(401)], "401 Unauthorized (invalid_api_key)"),
            (&[Failing::Status(500), Failing::Status(500)], "500 Internal Server Error"),
            (&[Failing::Busy("3600")], "429 Too Many Requests"),
            (&[Failing::Busy("tomorrow")], "429 Too Many Requests"),
            (&[Failing::Garbage], "something else than JSON"),
            (&[Failing::Huge], "too large"),
            (&[Failing::Elsewhere], "307 Temporary Redirect"),
        ];
        for (how, expected) in cases {
            stub.fail(how);
            let error = desk.chat(&who).await.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(expected), "{text}");
            for secret in [WORDS, PROVIDERS_WORDS, "sk-platform", "Be kind"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            assert_eq!(stub.asked().len(), how.len(), "{how:?}");
        }
        assert_eq!(desk.chat(&who).await.unwrap(), format!("You said: {WORDS}"), "and goes on");
        drop(listening);
        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        assert!(log.contains("this is logged"));
        for secret in [WORDS, PROVIDERS_WORDS, "sk-platform", "Be kind"] {
            assert!(!log.contains(secret), "{secret}");
        }
    });
}

#[test]
fn what_a_repetition_can_mend_is_repeated_once() {
    world(async |w| {
        let stub = ModelStub::start().await;
        let one = tenant(&w, "One").await;
        platform(&w, &stub);
        let desk = Desk::open(&w).await;
        let who = desk.who(&w, one).await;
        for failure in [Failing::Status(503), Failing::Busy("0"), Failing::Status(429)] {
            stub.fail(&[failure]);
            assert!(desk.chat(&who).await.is_ok(), "{failure:?}");
            assert_eq!(stub.asked().len(), 2, "{failure:?}");
        }
        assert_eq!(spent(&w, one).await, 3 * 18);
        stub.fail(&[Failing::Status(401)]);
        assert!(desk.chat(&who).await.is_err());
        assert_eq!(spent(&w, one).await, 3 * 18, "a refusal costs nothing");
        stub.fail(&[Failing::Garbage]);
        assert!(desk.chat(&who).await.is_err());
        assert!(spent(&w, one).await > 4 * 18, "what may have cost is counted as if it had");
        w.ctl(&["model", "set", "--base-url", "http://127.0.0.1:1/v1"]).json();
        let before = spent(&w, one).await;
        let error = desk.chat(&who).await.unwrap_err();
        assert!(error.to_string().contains("cannot be reached"), "{error}");
        assert_eq!(spent(&w, one).await, before);
    });
}

#[test]
fn a_provider_that_never_answers_and_one_that_says_nothing_are_told_apart() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let stub = ModelStub::start().await;
        let (http, key) = (Http::new().unwrap(), Secret::new(b"sk".to_vec()));
        let ask = Chat { model: "talk-1", messages: Vec::new(), max_tokens: 1 };
        let chat = async |within| {
            let at = Endpoint { base_url: &stub.base_url, key: &key, within };
            provider::chat(&http, &at, &ask).await.unwrap_err()
        };
        stub.fail(&[Failing::Silence]);
        assert_eq!(chat(Duration::from_millis(200)).await, ModelError::Http(HttpError::TimedOut));
        stub.say("  ");
        assert_eq!(chat(Duration::from_secs(60)).await, ModelError::Garbage("a completion"));
    });
}

#[test]
fn without_control_the_model_is_not_asked() {
    world(async |w| {
        let stub = ModelStub::start().await;
        let one = tenant(&w, "One").await;
        platform(&w, &stub);
        let (login, rest) = w.urls.server.split_once('@').unwrap();
        let (address, database) = rest.split_once('/').unwrap();
        let proxy = Proxy::to(address.parse().unwrap()).await;
        let desk = Desk::at(&w, &format!("{login}@{}/{database}", proxy.address)).await;
        let who = desk.who(&w, one).await;
        assert!(desk.chat(&who).await.is_ok());
        proxy.cut();
        assert!(matches!(desk.chat(&who).await, Err(NoModel::Failed(_))));
        assert_eq!(stub.asked().len(), 1);
    });
}

#[test]
fn the_operators_commands_refuse_what_makes_no_sense_and_show_no_key() {
    world(async |w| {
        let one = tenant(&w, "One").await;
        let id = one.to_string();
        for (args, says) in [
            (&["model", "set"][..], "nothing to set"),
            (&["model", "set", "--base-url", "http://api.example/v1"], "https://"),
            (&["model", "set", "--base-url", "https://user@api.example"], "without user"),
            (&["model", "set", "--chat-model", " "], "1 to 200 characters"),
            (&["model", "set", "--tenant", "999", "--allow", "yes"], "999"),
            (&["model", "show", "--tenant", "999"], "999"),
        ] {
            let ran = w.ctl(args);
            assert_eq!((ran.code, ran.stderr.contains(says)), (Some(3), true), "{args:?}: {}", ran.stderr);
        }
        w.ctl(&["model", "set", "--base-url", "http://api.example/v1", "--insecure"]).json();
        w.ctl_with(&["secret", "set", "model.api_key"], "sk-platform");
        let shown = w.ctl(&["model", "show", "--tenant", &id]);
        assert_eq!(shown.json()["key"], "platform");
        assert_eq!(shown.json()["effective"]["base_url"], "http://api.example/v1");
        assert_eq!(shown.json()["set"]["base_url"], Value::Null);
        assert!(!shown.stdout.contains("sk-platform"));
        let audit = w.ctl(&["audit", "list"]).stdout;
        assert!(audit.contains("model.set") && audit.contains("secret.set") && !audit.contains("sk-platform"));
        assert_eq!(w.ctl(&["usage", "show", "--day", "2026-13-01"]).code, Some(2));
        assert_eq!(w.ctl(&["usage", "show", "--day", "2026-12-01"]).json(), json!([]));
    });
}

//! Conversations on the telephone: real servers, signed requests, and what the provider is told to do next.

mod ends;
mod model;
mod turns;
mod twiml;

use serde_json::json;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;
use tokio_postgres::Client;

use crate::support::model_stub::ModelStub;
use crate::support::{Account, Server, Service, World, answer};

const CALLER: &str = "+15550001111";
const DIALLED: &str = "+18005550100";
const PERSON: &str = "+15550009999";

/// A tenant with a number, and a caller on the line.
struct Line {
    tenant: TenantId,
    account: Account,
    db: Client,
    call: Vec<(String, String)>,
}

/// What the provider is told: TwiML, taken apart as far as tests need it.
#[derive(Debug, PartialEq)]
struct Told {
    said: String,
    /// The path of the turn that follows.
    then: Option<String>,
    dials: Option<String>,
    hangs_up: bool,
}

impl Told {
    fn read(xml: &str) -> Self {
        let between = |from: &str, to: &str| {
            let rest = &xml[xml.find(from)? + from.len()..];
            Some(rest[..rest.find(to)?].to_owned())
        };
        let said = between("<Say", "</Say>").and_then(|say| Some(say.split_once('>')?.1.to_owned()));
        let action = between("action=\"", "\"");
        Self {
            said: said.unwrap_or_default().replace("&apos;", "'"),
            then: action.map(|url| url[url.find("/call/").unwrap()..].to_owned()),
            dials: between("<Number>", "</Number>"),
            hangs_up: xml.contains("<Hangup/>"),
        }
    }
}

impl Line {
    async fn open(w: &World) -> Self {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let account = w.account(1, None).await;
        w.assign(DIALLED, tenant, &account).await;
        let call = account.call(CALLER, DIALLED);
        Self { tenant, db: w.as_tenant(tenant).await, account, call }
    }

    async fn teach(&self, w: &World, server: &Server, question: &str, said: &str) {
        let service = Service { server, token: w.token(self.tenant, &[Scope::WriteKnowledge]).await };
        let body = json!({ "question": question, "answer": said });
        let made = service.post(&format!("/api/company/{}/knowledge-management", self.tenant), &body).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    async fn scenario(&self, phrase: &str, reply: &str, hook: &str) {
        let sql = "with renewed as (update knowledge_version set version = gen_random_uuid())
                   insert into scenarios (key, name, phrases, replies, hook, origin)
                   values ($1, $1, array[$2::text], array[$3::text], $4, 'custom')";
        self.db.execute(sql, &[&hook.replace('_', "-"), &phrase, &reply, &hook]).await.unwrap();
    }

    async fn send(&self, server: &Server, path: &str, more: &[(&str, &str)]) -> Told {
        let mut fields = self.call.clone();
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let found = answer(self.account.signed(server, path, &fields)).await;
        assert_eq!(found.status, 200, "{path}: {found:?}");
        Told::read(found.body.as_str().unwrap())
    }

    async fn greeted(&self, server: &Server) -> Told {
        self.send(server, "/call/incoming", &[]).await
    }

    async fn say(&self, server: &Server, turn: &Told, said: &str) -> Told {
        self.send(server, turn.then.as_deref().unwrap(), &[("SpeechResult", said), ("Confidence", "0.9")]).await
    }

    /// Whom the tenant's callers reach when they ask for a person.
    async fn has_a_person(&self, w: &World) {
        w.configure(self.tenant, &json!({ "escalation_number": PERSON })).await;
    }

    async fn count(&self, of: &str) -> i64 {
        self.db.query_one(&format!("select count(*) from {of}"), &[]).await.unwrap().get(0)
    }

    /// The callback that the call is over.
    async fn hang_up(&self, server: &Server) -> u16 {
        let mut fields: Vec<_> = self.call.iter().filter(|(name, _)| name != "CallStatus").cloned().collect();
        for (name, value) in [("CallStatus", "completed"), ("SequenceNumber", "3"), ("CallDuration", "40")] {
            fields.push((name.to_owned(), value.to_owned()));
        }
        answer(self.account.signed(server, "/call/status", &fields)).await.status
    }

    /// Lets a model answer where nothing else does.
    async fn has_a_model(&self, w: &World, stub: &ModelStub) {
        let id = self.tenant.to_string();
        let set =
            ["model", "set", "--tenant", &id, "--base-url", &stub.base_url, "--chat-model", "m", "--allow", "yes"];
        w.ctl(&[&set[..], &["--tokens-per-day", "100000"]].concat()).json();
        w.ctl_with(&["secret", "set", "--tenant", &id, "model.api_key"], "sk-test").json();
        w.with.settle().await.unwrap();
    }
}

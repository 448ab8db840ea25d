//! Playbooks: authored as files, published for good, cloned by companies and brought up to date with what they made of them.

mod authored;
mod shipped;
mod updated;

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::{Answer, Ran, Server, Service, World, answer};

/// A business and what it may do with its answers.
struct Company<'a> {
    id: TenantId,
    service: Service<'a>,
}

impl<'a> Company<'a> {
    async fn new(w: &World, server: &'a Server, name: &str) -> Self {
        let id = w.tenant(name, Isolation::Schema).await.id;
        let scopes = [Scope::ReadKnowledge, Scope::WriteKnowledge, Scope::ReadConfig, Scope::WriteConfig];
        Self { id, service: Service { server, token: w.token(id, &scopes).await } }
    }

    async fn get(&self, rest: &str) -> Answer {
        self.service.get(&format!("/api/company/{}/{rest}", self.id)).await
    }

    async fn send(&self, method: Method, rest: &str, body: &Value) -> Answer {
        answer(self.service.request(method, &format!("/api/company/{}/{rest}", self.id)).json(body)).await
    }

    async fn sync(&self, body: Value) -> Answer {
        self.send(Method::POST, "configuration/sync", &body).await
    }

    /// Clones or updates without a conflict.
    async fn take(&self, name: &str) -> Value {
        let found = self.sync(json!({ "templateId": name })).await;
        assert_eq!(found.status, 200, "{found:?}");
        found.body
    }

    async fn preview(&self) -> Value {
        let found = self.get("configuration/sync/preview").await;
        assert_eq!(found.status, 200, "{found:?}");
        found.body
    }

    async fn set(&self, variables: &Value) {
        let found = self.send(Method::PATCH, "configuration/variables", variables).await;
        assert_eq!(found.status, 200, "{found:?}");
    }

    async fn configuration(&self) -> Value {
        self.get("configuration").await.body
    }

    async fn hears(&self, said: &str) -> String {
        let found = self.send(Method::POST, "match", &json!({ "text": said })).await;
        found.body["text"].as_str().unwrap().to_owned()
    }

    async fn scenario(&self, key: &str) -> Option<Value> {
        let found = self.get("scenarios").await.body;
        found["scenarios"].as_array().unwrap().iter().find(|one| one["key"] == key).cloned()
    }

    /// Changes some fields of a scenario.
    async fn edit(&self, key: &str, fields: &Value) {
        let mut edit = self.scenario(key).await.unwrap();
        for (name, value) in fields.as_object().unwrap() {
            edit[name] = value.clone();
        }
        let id = edit["id"].as_str().unwrap().to_owned();
        assert_eq!(self.send(Method::PUT, &format!("scenarios/{id}"), &edit).await.status, 200);
    }
}

/// Where the entries of a list of an answer are.
fn places(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["place"].as_str().or(one.as_str()).unwrap()).collect()
}

/// A playbook's file with one scenario more for each of `more`.
fn file(w: &World, name: &str, more: &[&str]) -> PathBuf {
    let head = format!(
        "name = '{name}'\nfillers = ['um', 'well']\nurgency = [{{ word = 'leak', weight = 0.5 }}]\n
         variables = [{{ name = 'companyName', required = true }}, {{ name = 'opens', default = 'eight' }}]\n"
    );
    let path = w.dir.join(format!("{}.toml", uuid::Uuid::new_v4()));
    std::fs::write(&path, format!("{head}{}", more.concat())).unwrap();
    path
}

const HOURS: &str = "
    [[scenarios]]
    key = 'hours'
    name = 'Hours'
    category = 'basics'
    phrases = ['when are you open', 'what are your hours']
    replies = ['{companyName} opens at {opens}.']
";
const BOOK: &str = "
    [[scenarios]]
    key = 'book'
    name = 'Book a visit'
    category = 'basics'
    phrases = ['book a visit', 'schedule an appointment']
    replies = ['{companyName} comes on which day?', 'Which day?']
    hook = 'offer_scheduling'
";

fn import(w: &World, path: &Path) -> Ran {
    w.ctl(&["playbook", "import", path.to_str().unwrap()])
}

/// Imports and publishes.
fn publish(w: &World, name: &str, more: &[&str]) -> i64 {
    import(w, &file(w, name, more)).json();
    w.ctl(&["playbook", "publish", name]).json()["version"].as_i64().unwrap()
}

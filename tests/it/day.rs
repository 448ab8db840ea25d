//! One day of three businesses: set up from nothing, called by the same people at the same time, and each remembers only its own.
//!
//! Every text of a business holds a word of its own, in what it answers, what its callers say and what is noted of them. No word
//! may be in another's answers, in what another's model is told, in a log, in the figures, or in what control keeps: work included, while it
//! waits, sealed and opened.
//!
//! Red when `app/answers.rs` keys its cache by anything but the tenant, or `work/mod.rs` makes a principal of another item's tenant.

use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::clock::Clock;
use strowger::control::{Control, work};
use strowger::directory::{Directory, Staleness};
use strowger::vault::{Sealed, WorkPayload};
use tokio_postgres::Client;

use crate::metrics::Shown;
use crate::support::model_stub::ModelStub;
use crate::support::{Account, Answer, Server, Service, World, answer, until, world};

/// A client of all three.
const KNOWN: &str = "+15551234567";
/// Somebody who has never called anybody.
const UNKNOWN: &str = "+15557654321";

/// A business as it is set up: what it is, and the word that gives it away.
struct Plan {
    n: u32,
    isolation: &'static str,
    template: &'static str,
    playbook: &'static str,
    word: &'static str,
    fields: fn() -> Value,
    /// The line that its template makes of the fields.
    bio: &'static str,
}

const PLANS: [Plan; 3] = [
    Plan {
        n: 1,
        isolation: "schema",
        template: "insurance_v1",
        playbook: "insurance",
        word: "quokka",
        fields: || json!({ "name": "John Smith", "county": "Orange County", "policies": { "auto_1": { "year": 2019 } } }),
        bio: "John Smith | Orange County | 1 Auto",
    },
    Plan {
        n: 2,
        isolation: "schema",
        template: "real_estate_v1",
        playbook: "universal",
        word: "axolotl",
        fields: || json!({ "name": "Johnny", "buyer_or_seller": "buyer", "looking_in": "Newport Beach" }),
        bio: "Johnny | Buyer | Looking in Newport Beach",
    },
    Plan {
        n: 3,
        isolation: "database",
        template: "music_shop_v1",
        playbook: "universal",
        word: "okapi",
        fields: || json!({ "name": "John S." }),
        bio: "John S.",
    },
];

struct Business<'a> {
    plan: &'a Plan,
    id: i64,
    number: String,
    account: Account,
    /// The business's own people, who set it up and are shown no caller.
    staff: Service<'a>,
    /// The platform's services.
    service: Service<'a>,
}

/// What staff may do.
const STAFF: &str = "read:config write:config read:knowledge write:knowledge";

impl<'a> Business<'a> {
    /// From nothing to taking calls: the operator's commands, then the business's own settings.
    async fn onboard(w: &World, server: &'a Server, plan: &'a Plan) -> Self {
        let (n, word) = (plan.n, plan.word);
        let made =
            w.ctl(&["tenant", "create", "--name", &format!("Business {n}"), "--isolation", plan.isolation]).json();
        let id = made["customer_id"].as_i64().unwrap();
        let (tenant, number, account) = (id.to_string(), format!("+1800555020{n}"), Account::new(n));
        let add = ["account", "add", "--provider", "twilio", "--id", &account.sid, "--tenant", &tenant];
        w.ctl_with(&add, &account.token).json();
        w.ctl(&["number", "assign", &number, "--tenant", &tenant]).json();
        w.ctl(&["profile", "bind", "--tenant", &tenant, plan.template]).json();
        assert_eq!(w.ctl_with(&["secret", "set", "--tenant", &tenant, "model.api_key"], "sk").code, Some(0));
        let minted = w.ctl(&["token", "mint", "--tenant", &tenant, "--scope", STAFF]);
        assert_eq!(minted.code, Some(0), "{}", minted.stderr);
        let staff = Service { server, token: minted.stdout.trim_end().to_owned() };
        let token = w.token(i32::try_from(id).unwrap().try_into().unwrap(), Scope::ALL).await;
        let business = Self { plan, id, number, account, staff, service: Service { server, token } };
        assert_eq!(business.staff.get("/v1/memories").await.status, 403, "staff are shown no caller");

        let greeting = format!("Welcome to {word}.");
        let known = format!("Welcome back to {word}, {{caller_name}}.");
        let configuration = json!({ "agent_name": "Ada", "greeting": greeting, "greeting_known": known });
        business.set_up(Method::PATCH, "/v1/config", &configuration).await;
        let company = format!("/api/company/{id}");
        let clone = json!({ "templateId": plan.playbook });
        business.set_up(Method::POST, &format!("{company}/configuration/sync"), &clone).await;
        let (hours, address) = (format!("at {word} o'clock"), format!("1 {word} Street"));
        let variables = json!({ "companyName": word, "opens": "eight", "businessHours": hours, "address": address });
        business.set_up(Method::PATCH, &format!("{company}/configuration/variables"), &variables).await;
        let question = json!({ "question": "When are you open?", "answer": "{companyName} opens at {opens}." });
        business.set_up(Method::POST, &format!("{company}/knowledge-management"), &question).await;
        let ready = business.staff.get(&format!("{company}/readiness")).await;
        assert_eq!((&ready.body["score"], &ready.body["missing"]), (&json!(100), &json!([])), "{ready:?}");
        business
    }

    /// By its staff.
    async fn set_up(&self, method: Method, path: &str, body: &Value) {
        sent(&self.staff, method, path, body).await;
    }

    /// By the platform.
    async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        sent(&self.service, method, path, body).await
    }

    /// What a caller hears in one conversation, to its end.
    async fn call(&self, caller: &str, says: &[&str]) -> Vec<String> {
        let form = self.account.call(caller, &self.number);
        let mut heard = vec![self.told("/call/incoming", &form, &[]).await];
        for (turn, said) in says.iter().enumerate() {
            heard.push(self.told(&format!("/call/turn?turn={}", turn + 1), &form, &[("SpeechResult", said)]).await);
        }
        let ended: Vec<_> = form.into_iter().filter(|(name, _)| name != "CallStatus").collect();
        self.told("/call/status", &ended, &[("CallStatus", "completed"), ("CallDuration", "60")]).await;
        heard
    }

    async fn told(&self, path: &str, form: &[(String, String)], more: &[(&str, &str)]) -> String {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let fields: Vec<_> = form.iter().cloned().chain(more).collect();
        let found = answer(self.account.signed(self.service.server, path, &fields)).await;
        assert_eq!(found.status, 200, "{path}: {found:?}");
        found.body.as_str().unwrap().to_owned()
    }

    async fn context(&self, caller: &str) -> Value {
        self.service.get(&format!("/v2/context/enriched?user_id=%2B{}", &caller[1..])).await.body
    }

    /// Calls from somebody known and from a stranger. Gives all that was answered.
    async fn day(&self) -> String {
        let word = self.plan.word;
        let profile = self.send(Method::PUT, &format!("/v2/profile/{KNOWN}"), &(self.plan.fields)()).await;
        assert_eq!(profile.body["quick_bio"], self.plan.bio);
        let memory = json!({ "user_id": KNOWN, "content": format!("Asked for {word} before.") });
        self.send(Method::POST, "/v1/memories", &memory).await;

        let message = format!("My name is John and the {word} has not arrived. Please call me back tomorrow.");
        let first = self.call(KNOWN, &["um, when are you open?", "Do you sell submarines?", &message]).await;
        assert!(first[0].contains(&format!("Welcome back to {word}, John")), "{first:?}");
        assert!(first[1].contains(&format!("{word} opens at eight.")), "{first:?}");
        assert!(first[2].contains("What may I pass on?") && first[3].contains("Thank you"), "{first:?}");
        let stranger = self.call(UNKNOWN, &["When are you open?", "Uh, where are you located?"]).await;
        assert!(stranger[0].contains(&format!("Welcome to {word}.")), "{stranger:?}");
        assert!(stranger[2].contains(&format!("You find {word} at 1 {word} Street.")), "{stranger:?}");
        format!("{first:?}{stranger:?}{profile:?}")
    }

    /// What is known of the callers once their calls are processed.
    async fn evening(&self) -> String {
        let word = self.plan.word;
        for caller in [KNOWN, UNKNOWN] {
            until("the call is processed", async || self.context(caller).await["summaries"][0]["summary"].is_string())
                .await;
        }
        let (known, unknown) = (self.context(KNOWN).await, self.context(UNKNOWN).await);
        assert!(known["summaries"][0]["summary"].as_str().unwrap().contains(word), "{known}");
        assert!(known["memories"][0]["content"].as_str().unwrap().contains(word), "{known}");
        assert_eq!((&known["quick_bio"], &unknown["known"]), (&json!(self.plan.bio), &json!(false)));
        format!("{known}{unknown}")
    }

    /// Has a model of its own from now on, whose answer holds the word too.
    async fn gets_a_model(&self, w: &World) -> ModelStub {
        let (stub, id) = (ModelStub::start().await, self.id.to_string());
        let set =
            ["model", "set", "--tenant", &id, "--base-url", &stub.base_url, "--chat-model", "m", "--allow", "yes"];
        w.ctl(&set).json();
        stub.say(&format!("Nobody at {} knows that.", self.plan.word));
        stub
    }

    /// The one who is known calls again and asks what only a model may answer. Gives all that was answered, and all that the model was told.
    async fn next_day(&self, stub: &ModelStub) -> String {
        let known = self.context(KNOWN).await;
        let again = self.call(KNOWN, &["Do you sell submarines?"]).await;
        assert!(again[1].contains(&format!("Nobody at {} knows that.", self.plan.word)), "{again:?}");
        let asked = stub.asked();
        let told = asked[0].body["messages"][0]["content"].as_str().unwrap();
        let word = self.plan.word;
        for part in [
            known["summaries"][0]["summary"].as_str().unwrap(),
            &format!("- Asked for {word} before."),
            &format!("The caller: {}", self.plan.bio),
            &format!("companyName: {word}"),
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        format!("{again:?}{asked:?}")
    }
}

/// Work that is promised and that no server comes to: a session of ours has the turns of all businesses.
struct OpenWork {
    holding: Client,
    directory: Directory,
}

impl OpenWork {
    async fn hold(w: &World, businesses: &[Business<'_>]) -> Self {
        let holding = w.superuser("control", &w.prefix.name("control")).await;
        for business in businesses {
            let turn = "insert into work_turns (tenant_id) values ($1) on conflict do nothing";
            holding.execute(turn, &[&i32::try_from(business.id).unwrap()]).await.unwrap();
        }
        holding.batch_execute("begin; select from work_turns for update").await.unwrap();
        let control = Control::lazy(&w.urls.server, "day", 1).unwrap();
        let directory = Directory::new(control, w.server_ring.clone(), &Clock::system(), Staleness::default());
        Self { holding, directory }
    }

    /// All of it as it stands there, and as it reads under its tenant's key; from now on it is done.
    async fn let_go(self, w: &World, items: usize) -> String {
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let sql = "select tenant_id, kind, source_id, sealed, w::text || encode(sealed, 'escape') from work_items w where state = 'queued'";
        let rows = control.query(sql, &[]).await.unwrap();
        assert_eq!(rows.len(), items, "each call has promised to be processed");
        let mut text = String::new();
        for row in rows {
            let (tenant, kind, source): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let route = self.directory.tenant(tenant.try_into().unwrap()).await.unwrap().unwrap();
            let sealed = Sealed::<WorkPayload>::from_stored(row.get(3));
            let opened = route.key.open(&work::row(kind, source), &sealed).unwrap();
            let opened = opened.expose_str().unwrap();
            assert!(opened.contains(source), "the control: it was opened: {opened}");
            text += row.get(4);
            text += opened;
        }
        self.holding.batch_execute("rollback").await.unwrap();
        text
    }
}

async fn sent(by: &Service<'_>, method: Method, path: &str, body: &Value) -> Answer {
    let found = answer(by.request(method, path).json(body)).await;
    assert!((200..300).contains(&found.status), "{path}: {found:?}");
    found
}

#[test]
fn three_businesses_with_the_same_callers_live_a_day() {
    world(async |w| {
        let server = w.server();
        let mut businesses = Vec::new();
        for plan in &PLANS {
            businesses.push(Business::onboard(&w, &server, plan).await);
        }
        let [one, two, three] = &businesses[..] else { unreachable!() };
        let shown = Shown::start(&w);
        let work = OpenWork::hold(&w, &businesses).await;
        let days: [String; 3] = tokio::join!(one.day(), two.day(), three.day()).into();
        let mut elsewhere = work.let_go(&w, 6).await + &shown.read().await.expect("figures");
        let evenings: [String; 3] = tokio::join!(one.evening(), two.evening(), three.evening()).into();
        let stubs = [one.gets_a_model(&w).await, two.gets_a_model(&w).await, three.gets_a_model(&w).await];
        w.with.settle().await.unwrap();
        let next_days: [String; 3] =
            tokio::join!(one.next_day(&stubs[0]), two.next_day(&stubs[1]), three.next_day(&stubs[2])).into();
        for (n, business) in businesses.iter().enumerate() {
            for said in [&days[n], &evenings[n], &next_days[n]] {
                for other in &PLANS {
                    let own = other.word == business.plan.word;
                    assert_eq!(said.contains(other.word), own, "{} of customer {}: {said}", other.word, business.id);
                }
            }
        }
        elsewhere += &shown.read().await.expect("figures");
        assert!(
            elsewhere.contains("strowger_tenants{state=\"active\"} 3"),
            "the control: there are figures: {elsewhere}"
        );
        let control = w.superuser("control", &w.prefix.name("control")).await;
        // Sealed payloads are bytes; as they are, and as the text that they would be if they were not sealed.
        let kept = "select coalesce((select string_agg(w::text || encode(sealed, 'escape'), '') from work_items w), '')
                        || coalesce((select string_agg(a::text, '') from audit a), '')
                        || coalesce((select string_agg(u::text, '') from usage u), '')";
        elsewhere += control.query_one(kept, &[]).await.unwrap().get::<_, &str>(0);
        let log = server.settled_log().await;
        for plan in &PLANS {
            assert!(!log.contains(plan.word), "{} was logged", plan.word);
            assert!(!elsewhere.contains(plan.word), "{} was written down elsewhere", plan.word);
        }
        for number in [KNOWN, UNKNOWN] {
            assert!(!log.contains(&number[1..]), "a caller's number is in the log");
        }
    });
}

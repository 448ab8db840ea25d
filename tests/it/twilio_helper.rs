//! Webhooks signed by Twilio's official Python helper, as Twilio signs them.

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::id::TenantId;

use crate::support::{Account, Answer, Official, Server, World, answer, world};

const CALLER: &str = "+15551234567";
const OF_A: &str = "+18005550101";
const OF_B: &str = "+18005550102";
const INCOMING: &str = "/call/incoming";
const STATUS: &str = "/call/status";

type Fields = Vec<(String, String)>;

/// Two tenants with an account and a number each. Both know the caller, by different names.
struct Fixture {
    helper: Official,
    server: Server,
    a: TenantId,
    b: TenantId,
    account_a: Account,
    account_b: Account,
}

impl Fixture {
    async fn new(w: &World, flags: &[&str]) -> Self {
        let (a, b) = (w.tenant("A", Isolation::Schema).await.id, w.tenant("B", Isolation::Database).await.id);
        let (account_a, account_b) = (w.account(1, Some(a)).await, w.account(2, Some(b)).await);
        w.assign(OF_A, a, &account_a).await;
        w.assign(OF_B, b, &account_b).await;
        for (tenant, name) in [(a, "Grace"), (b, "Hopper")] {
            let sql = format!("insert into caller_profiles (user_id, name) values ('{CALLER}', '{name}')");
            w.as_tenant(tenant).await.batch_execute(&sql).await.unwrap();
        }
        Self { helper: Official::start(), server: w.server_with(flags), a, b, account_a, account_b }
    }

    /// Sends `fields` to `path` with a signature of `token` over `url`.
    async fn send(&mut self, token: &str, url: &str, path: &str, signed: &Fields, sent: &Fields) -> Answer {
        let signature = self.helper.sign(token, url, signed);
        answer(self.server.post(path).header("x-twilio-signature", signature).form(sent)).await
    }

    /// The same, honestly.
    async fn honest(&mut self, account: &Account, path: &str, fields: &Fields) -> Answer {
        let url = format!("{}{path}", self.server.base_url);
        self.send(&account.token, &url, path, fields, fields).await
    }
}

fn with(fields: &Fields, name: &str, value: &str) -> Fields {
    let mut fields = fields.clone();
    fields.retain(|(n, _)| n != name);
    fields.push((name.to_owned(), value.to_owned()));
    fields
}

fn says(found: &Answer, text: &str) -> bool {
    found.status == 200 && found.body.as_str().is_some_and(|body| body.contains(text))
}

#[test]
fn what_the_official_helper_signs_is_accepted() {
    world(async |w| {
        let mut f = Fixture::new(&w, &[]).await;
        let (a, b) = (f.account_a.clone(), f.account_b.clone());
        let mut call = a.call(CALLER, OF_A);
        for (name, value) in [
            ("ApiVersion", "2010-04-01"),
            ("CallerName", "O'Brien & Söhne 日本 +%20"),
            ("FromCity", ""),
            ("ToState", "  untrimmed "),
            ("Digits", "1234"),
            ("Digits", "5678"),
            ("Digits", "1234"),
            ("aLowerCaseName", "x"),
            ("SpeechResult", "two\r\nlines"),
        ] {
            call.push((name.to_owned(), value.to_owned()));
        }
        let found = f.honest(&a, INCOMING, &call).await;
        assert!(says(&found, "Grace") && !says(&found, "Hopper"), "{found:?}");
        assert!(says(&f.honest(&a, "/api/twilio/voice", &a.call(CALLER, OF_A)).await, "Grace"), "the alias");
        assert!(says(&f.honest(&a, "/call/incoming?x=1&y=%20", &a.call(CALLER, OF_A)).await, "Grace"), "a query");
        let found = f.honest(&b, INCOMING, &b.call(CALLER, OF_B)).await;
        assert!(says(&found, "Hopper") && !says(&found, "Grace"), "{found:?}");
        assert_eq!(f.honest(&a, STATUS, &call).await.status, 200);
    });
}

/// Red when `Unverified::verify` compares nothing. That the number is the signing account's is asked twice, in
/// `Answering::next` and in `Principal::from_call`: red when both leave it out.
#[test]
fn what_was_changed_or_belongs_to_another_is_refused() {
    world(async |w| {
        let mut f = Fixture::new(&w, &[]).await;
        let (a, b) = (f.account_a.clone(), f.account_b.clone());
        let url = format!("{}{INCOMING}", f.server.base_url);
        let call = a.call(CALLER, OF_A);
        assert!(says(&f.send(&a.token, &url, INCOMING, &call, &call).await, "Grace"), "the control");
        let longer = with(&call, "Extra", "1");
        let shorter: Fields = call.iter().filter(|(name, _)| name != "CallStatus").cloned().collect();
        for (what, token, url, path, sent) in [
            ("a changed caller", &a.token, url.clone(), INCOMING, with(&call, "From", "+15550000000")),
            ("a changed number", &a.token, url.clone(), INCOMING, with(&call, "To", OF_B)),
            ("a field more", &a.token, url.clone(), INCOMING, longer),
            ("a field less", &a.token, url.clone(), INCOMING, shorter),
            ("another path", &a.token, format!("{}{STATUS}", f.server.base_url), INCOMING, call.clone()),
            ("another query", &a.token, format!("{url}?x=1"), "/call/incoming?x=2", call.clone()),
            ("another host", &a.token, url.replace("127.0.0.1", "localhost"), INCOMING, call.clone()),
            ("another scheme", &a.token, url.replace("http:", "https:"), INCOMING, call.clone()),
            ("another account's token", &b.token, url.clone(), INCOMING, call.clone()),
            ("no token", &String::new(), url.clone(), INCOMING, call.clone()),
            ("the other account named", &a.token, url.clone(), INCOMING, with(&call, "AccountSid", &b.sid)),
        ] {
            let found = f.send(token, &url, path, &call, &sent).await;
            assert_eq!((found.status, &found.body["code"]), (403, &json!("bad_signature")), "{what}: {found:?}");
        }
        let stranger = Account::new(99);
        let unknown_account = f.honest(&stranger, INCOMING, &stranger.call(CALLER, OF_A)).await;
        let wrong_token = f.send("wrong", &url, INCOMING, &call, &call).await;
        assert_eq!((unknown_account.status, &unknown_account), (403, &wrong_token), "the two look alike");

        for path in [INCOMING, STATUS] {
            let unknown = f.honest(&a, path, &a.call(CALLER, "+18005559999")).await;
            let of_another = f.honest(&a, path, &a.call(CALLER, OF_B)).await;
            assert_eq!(unknown.status, 404, "{path}");
            assert_eq!(of_another, unknown, "{path}: another tenant's number looks like no number");
            assert_eq!(f.honest(&b, path, &b.call(CALLER, OF_A)).await, unknown, "{path}");
        }
        assert_eq!(calls(&w, f.b).await, Vec::<Value>::new(), "and leaves no trace there");
        assert_eq!(calls(&w, f.a).await.len(), 1, "the control's");
    });
}

/// Red when the URL is put together from the request.
#[test]
fn the_public_url_is_configured_and_never_taken_from_a_header() {
    world(async |w| {
        let mut f = Fixture::new(&w, &["--public-url", "https://voice.example/base"]).await;
        let a = f.account_a.clone();
        let call = a.call(CALLER, OF_A);
        for (url, status) in [
            ("https://voice.example/base/call/incoming".to_owned(), 200),
            ("https://voice.example:443/base/call/incoming".to_owned(), 200),
            ("https://voice.example/call/incoming".to_owned(), 403),
            ("http://voice.example/base/call/incoming".to_owned(), 403),
            (format!("{}{INCOMING}", f.server.base_url), 403),
        ] {
            assert_eq!(f.send(&a.token, &url, INCOMING, &call, &call).await.status, status, "{url}");
        }
        let signature = f.helper.sign(&a.token, "https://evil.example/call/incoming", &call);
        let request = f.server.post(INCOMING).header("x-twilio-signature", signature).form(&call);
        let request = request.header("host", "evil.example").header("x-forwarded-host", "evil.example");
        assert_eq!(answer(request.header("x-forwarded-proto", "https")).await.status, 403);
    });
}

/// A tenant's calls, by when they came in.
async fn calls(w: &World, tenant: TenantId) -> Vec<Value> {
    let sql = "select to_jsonb(c) from calls c order by started_at, call_sid";
    w.as_tenant(tenant).await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Red when `where c.last_sequence < excluded.last_sequence` is left out in `tenant/calls.rs`.
#[test]
fn callbacks_may_come_twice_and_in_any_order() {
    world(async |w| {
        let mut f = Fixture::new(&w, &[]).await;
        let a = f.account_a.clone();
        let call = a.call(CALLER, OF_A);
        assert!(says(&f.honest(&a, INCOMING, &call).await, "Grace"));
        assert!(says(&f.honest(&a, INCOMING, &call).await, "Grace"), "a retry is answered alike");
        let step = |status: &str, sequence: &str| with(&with(&call, "CallStatus", status), "SequenceNumber", sequence);
        let last = with(&step("completed", "3"), "CallDuration", "42");
        for fields in [step("in-progress", "1"), last.clone(), last, step("in-progress", "2"), step("ringing", "0")] {
            let found = f.honest(&a, STATUS, &fields).await;
            assert_eq!((found.status, says(&found, "<Response></Response>")), (200, true), "{found:?}");
        }
        let found = calls(&w, f.a).await;
        assert_eq!(found.len(), 1, "{found:?}");
        for (name, expected) in [
            ("status", json!("completed")),
            ("duration_seconds", json!(42)),
            ("last_sequence", json!(3)),
            ("user_id", json!(CALLER)),
            ("number", json!(OF_A)),
        ] {
            assert_eq!(found[0][name], expected, "{name}");
        }
        let unseen = with(&with(&a.call(CALLER, OF_A), "CallStatus", "no-answer"), "SequenceNumber", "2");
        assert_eq!(f.honest(&a, STATUS, &unseen).await.status, 200, "a callback of a call that did not begin here");
        assert_eq!(calls(&w, f.a).await.len(), 1, "is acknowledged and not noted");
        for (name, value) in [("SequenceNumber", "-1"), ("SequenceNumber", "x"), ("CallDuration", "99999999999")] {
            assert_eq!(f.honest(&a, STATUS, &with(&call, name, value)).await.status, 400, "{name}={value}");
        }
        assert_eq!(calls(&w, f.a).await[0], found[0]);
    });
}

#[test]
fn callers_of_a_blocked_tenant_hear_why_or_nothing() {
    world(async |w| {
        let mut f = Fixture::new(&w, &[]).await;
        let a = f.account_a.clone();
        let id = f.a.to_string();
        w.ctl(&["tenant", "suspend", &id]).json();
        let found = f.honest(&a, INCOMING, &a.call(CALLER, OF_A)).await;
        assert!(says(&found, "<Say>We are sorry, this number cannot take calls at the moment."), "{found:?}");
        assert!(!says(&found, "Grace"));
        assert_eq!(f.honest(&a, STATUS, &a.call(CALLER, OF_A)).await.status, 403);
        w.ctl(&["tenant", "resume", &id]).json();
        assert!(says(&f.honest(&a, INCOMING, &a.call(CALLER, OF_A)).await, "Grace"), "resumed");
        w.ctl(&["tenant", "delete", &id]).json();
        let deleted = f.honest(&a, INCOMING, &a.call(CALLER, OF_A)).await;
        assert_eq!(deleted, f.honest(&a, INCOMING, &a.call(CALLER, "+18005559999")).await, "as if it had never been");
        assert_eq!(deleted.status, 404);
    });
}

/// Red when `CallerKey::from_voice` takes any text, or the numbers that spell RESTRICTED and the like.
#[test]
fn callers_without_a_number_have_no_name_and_no_shared_key() {
    world(async |w| {
        let mut f = Fixture::new(&w, &[]).await;
        let a = f.account_a.clone();
        let db = w.as_tenant(f.a).await;
        let withheld = [
            "anonymous",
            "Anonymous",
            "RESTRICTED",
            "unknown",
            "",
            "client:x",
            "sip:x@y.example",
            "+266696687",
            "+7378742833",
        ];
        for from in withheld {
            // If the text were a key, somebody would have been given a name under it.
            let sql = "insert into caller_profiles (user_id, name) values ($1, 'Eve') on conflict do nothing";
            db.execute(sql, &[&from]).await.unwrap();
            let found = f.honest(&a, INCOMING, &a.call(from, OF_A)).await;
            assert!(says(&found, "Hello, this is") && !says(&found, "Eve"), "{from}: {found:?}");
        }
        let mut without = a.call("", OF_A);
        without.retain(|(name, _)| name != "From");
        assert!(says(&f.honest(&a, INCOMING, &without).await, "Hello, this is"), "no From at all");
        let found = calls(&w, f.a).await;
        assert_eq!(found.len(), withheld.len() + 1);
        assert!(found.iter().all(|call| call["user_id"].is_null()), "{found:?}");
    });
}

/// Red when `calls::progress` notes calls that it does not find.
#[test]
fn a_call_that_outlasts_its_numbers_move_leaves_nothing_with_the_new_tenant() {
    world(async |w| {
        let (old, new) = (w.tenant("Old", Isolation::Schema).await, w.tenant("New", Isolation::Schema).await);
        let (account, server) = (w.account(77, None).await, w.server());
        w.assign("+18005550177", old.id, &account).await;
        let call = account.call(CALLER, "+18005550177");
        assert_eq!(account.signed(&server, INCOMING, &call).send().await.unwrap().status(), 200);
        w.ctl(&["number", "assign", "+18005550177", "--tenant", &new.id.to_string()]).json();
        let ended = with(&with(&call, "CallStatus", "completed"), "SequenceNumber", "1");
        assert_eq!(account.signed(&server, STATUS, &ended).send().await.unwrap().status(), 200);
        assert_eq!(calls(&w, old.id).await.len(), 1);
        assert!(calls(&w, new.id).await.is_empty(), "neither the caller nor the call");
    });
}

//! A turn of a call, from the signed request to the whole answer.

use std::time::{Duration, Instant};

use provisioner::{Provisioner, credentials, numbers};
use serde_json::json;
use strowger::auth::Scope;
use strowger::auth::webhook::sign_twilio;
use strowger::id::TenantId;
use strowger::vault::Secret;

use super::Serving;
use super::load::{Connection, request};
use crate::support::report;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const DIALLED: &str = "+18005550100";
const TOKEN: &str = "token";
const CALLS: usize = 200;

/// What callers ask, and what the tenant's knowledge says of it.
const KNOWN: [(&str, &str); 6] = [
    ("When are you open?", "From eight to five."),
    ("Where can I park my car?", "Behind the house."),
    ("Do you sell gift vouchers?", "At the desk, from ten dollars on."),
    ("Is there a discount for students?", "Ten percent with a card."),
    ("How long does delivery take?", "Three working days."),
    ("Can I bring my dog along?", "On a leash, gladly."),
];

/// Calls one after the other: each is greeted and asks all there is to ask.
pub(crate) async fn run(with: &Provisioner, tenant: TenantId, server: &Serving) {
    let token = Secret::new(TOKEN.as_bytes().to_vec());
    credentials::add_account(with, &ACCOUNT.parse().unwrap(), None, &token).await.unwrap();
    numbers::assign(with, &DIALLED.parse().unwrap(), tenant, None, "").await.unwrap();
    let base = format!("http://{}", server.address);
    let service = credentials::mint(with, tenant, Scope::ALL, 3600).await.unwrap();
    for (question, answer) in KNOWN {
        let path = format!("{base}/api/company/{tenant}/knowledge-management");
        let body = json!({ "question": question, "answer": answer });
        let made = reqwest::Client::new().post(path).bearer_auth(&service).json(&body).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    let (mut greetings, mut turns) = (Vec::new(), Vec::new());
    let mut connection = Connection::open(server.address).await;
    for call in 0..CALLS {
        let sid = format!("CA{call:032x}");
        let heard = timed(&mut connection, &mut greetings, &signed(&base, "/call/incoming", &sid, None)).await;
        assert!(heard.contains("<Gather"), "{heard}");
        for (n, (question, answer)) in KNOWN.iter().enumerate() {
            let asked = signed(&base, &format!("/call/turn?turn={}", n + 1), &sid, Some(question));
            let heard = timed(&mut connection, &mut turns, &asked).await;
            assert!(heard.contains(answer), "{question}: {heard}");
        }
    }
    println!("a call, without a model, one at a time");
    for (what, times) in [("POST /call/incoming", &mut greetings), ("POST /call/turn", &mut turns)] {
        report(&format!("    {what}"), times);
        println!("        p99 {:?}", times[times.len() * 99 / 100]);
    }
}

async fn timed(connection: &mut Connection, times: &mut Vec<Duration>, request: &[u8]) -> String {
    let start = Instant::now();
    let heard = String::from_utf8_lossy(connection.ask(request).await).into_owned();
    times.push(start.elapsed());
    heard
}

fn signed(base: &str, path: &str, sid: &str, said: Option<&str>) -> Vec<u8> {
    let mut fields = vec![
        ("CallSid", sid),
        ("AccountSid", ACCOUNT),
        ("From", "+15550000007"),
        ("To", DIALLED),
        ("CallStatus", "in-progress"),
        ("Direction", "inbound"),
    ];
    fields.extend(said.map(|said| ("SpeechResult", said)));
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let signature = sign_twilio(&Secret::new(TOKEN.as_bytes().to_vec()), &format!("{base}{path}"), &fields);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let headers = format!(
        "Host: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: {signature}\r\n"
    );
    request("POST", path, &headers, &body)
}

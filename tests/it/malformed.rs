//! Whatever is sent: 4xx or a closed connection, never 5xx, never a panic.
//!
//! Red when class 22 is no longer `TenantError::Unstorable`, and when a handler panics.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::auth::webhook::sign_twilio;
use strowger::control::clusters::Isolation;
use strowger::http::{Access, routes};
use strowger::vault::Secret;

use crate::support::{Account, Server, Service, World, answer, raw, world};

const CALLER: &str = "+15551234567";
const DIALLED: &str = "+18005550101";
const KINDS: usize = 5;

async fn fixture(w: &World) -> (Server, String, Account) {
    let tenant = w.tenant("One", Isolation::Schema).await.id;
    let account = w.account(1, Some(tenant)).await;
    w.assign(DIALLED, tenant, &account).await;
    (w.server(), w.token(tenant, Scope::ALL).await, account)
}

/// The POST routes that take a tenant's token.
fn posts() -> Vec<&'static str> {
    let posts = |route: &strowger::http::RouteRow| {
        route.method == Method::POST && matches!(route.access, Access::Token(_)) && !route.path.contains('{')
    };
    routes().into_iter().filter(posts).map(|route| route.path).collect()
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, n: usize| open.repeat(n).into_bytes();
    let with = |value: &str| format!("{{\"customer_id\":1,\"user_id\":{value},\"content\":{value},\"query\":{value}}}");
    vec![
        ("nothing", vec![]),
        ("space", b"  ".to_vec()),
        ("half an object", b"{\"user_id\":".to_vec()),
        ("two objects", b"{}{}".to_vec()),
        ("an array", b"[]".to_vec()),
        ("a text", b"\"x\"".to_vec()),
        ("null", b"null".to_vec()),
        ("a form", b"user_id=1&content=x".to_vec()),
        (
            "bytes that are no UTF-8",
            with("\"\u{1}\"").replace('\u{1}', "\u{fffd}").into_bytes().iter().map(|b| b | 0x80).collect(),
        ),
        ("a broken UTF-8 text", b"{\"user_id\":\"\xff\xfe\",\"content\":\"\xc3\x28\",\"query\":\"\xf0\x9f\"}".to_vec()),
        ("UTF-16", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("a raw control character", with("\"\u{1}\"").into_bytes()),
        ("a lone high surrogate", with("\"\\ud800\"").into_bytes()),
        ("a lone low surrogate", with("\"\\udc00x\"").into_bytes()),
        ("surrogates the wrong way round", with("\"\\udc00\\ud800\"").into_bytes()),
        ("U+0000", with("\"\\u0000\"").into_bytes()),
        ("arrays 100,000 deep", deep("[", 100_000)),
        ("objects 100,000 deep", deep("{\"a\":", 100_000)),
        (
            "a deep array that is closed",
            [deep("{\"user_id\":", 1), deep("[", 500), deep("]", 500), b"}".to_vec()].concat(),
        ),
        ("a number beyond all numbers", with("1e999").into_bytes()),
        ("a very long number", with(&"9".repeat(5000)).into_bytes()),
        ("the largest integer and one", with("9223372036854775808").into_bytes()),
        ("the same name twice", b"{\"user_id\":\"1\",\"user_id\":\"2\",\"content\":\"x\",\"query\":7}".to_vec()),
        ("NaN", with("NaN").into_bytes()),
    ]
}

#[test]
fn malformed_bodies_are_refused() {
    world(async |w| {
        let (server, token, _) = fixture(&w).await;
        let one = Service { server: &server, token };
        for path in posts() {
            for (what, body) in bodies() {
                let request = one.request(Method::POST, path).header("content-type", "application/json");
                let found = answer(request.body(body)).await;
                assert!((400..500).contains(&found.status), "{path}, {what}: {found:?}");
            }
            for kind in [
                "text/plain",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
                "application/jsonx",
                "",
                ";",
                "\u{fffd}",
            ] {
                let found = answer(one.request(Method::POST, path).header("content-type", kind).body("{}")).await;
                assert_eq!(found.status, 415, "{path}, {kind}");
            }
            assert_eq!(answer(one.request(Method::POST, path).body("{}")).await.status, 415, "{path}, no content type");
        }
        let nul = "a\0b";
        for (path, body) in [
            ("/v1/memories", json!({ "user_id": CALLER, "content": nul })),
            ("/v1/memories", json!({ "user_id": CALLER, "content": "x", "key": nul })),
            ("/v1/memories", json!({ "user_id": CALLER, "content": "x", "type": nul })),
            ("/v1/memories", json!({ "user_id": format!("{CALLER}\0"), "content": "x" })),
            ("/v1/memories", json!({ "user_id": "wa:a\0", "content": "x" })),
            ("/v1/memories/search", json!({ "query": nul })),
            ("/v2/context/enriched", json!({ "user_id": nul })),
        ] {
            assert_eq!(one.post(path, &body).await.status, 422, "{path} {body}");
        }
        for (length, status) in [(65_536, 201), (65_537, 422), (800_000, 422)] {
            let text: String = "x y ".chars().cycle().take(length).collect();
            let stored = one.post("/v1/memories", &json!({ "user_id": CALLER, "content": text })).await;
            assert_eq!(stored.status, status, "{length} bytes");
        }
        server.assert_calm(100).await;
    });
}

#[test]
fn malformed_addresses_are_refused() {
    world(async |w| {
        let (server, token, _) = fixture(&w).await;
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for bad in
            ["%00", "%", "%zz", "%ff%fe", "%ud800", "%2e%2e%2f", "\u{e9}", "x".repeat(5000).as_str(), "..", "'", "+"]
        {
            for before in [
                "/v1/memories/",
                "/v1/memories/user/",
                "/v1/memories?user_id=",
                "/v1/memories?cursor=",
                "/v1/memories?limit=",
                "/v1/memories?customer_id=",
                "/v2/context/enriched?user_id=",
            ] {
                paths.push(format!("{before}{bad}").into_bytes());
            }
        }
        for odd in [
            "/v1/memories?limit=1&limit=2",
            "/v1/memories?user_id=1&user_id=2",
            "/v1/memories?type=%00",
            "/v1/memories/",
            "//v1/memories",
            "/v1/memories/00000000-0000-0000-0000-00000000000g",
            "/v1/memories/1",
            "/v1/memories/{id}",
            "/v1/memories/user/",
            "/..%2fv1",
            "*",
            "/v2/context/enriched",
            "http://",
            "http:///",
            "x",
        ] {
            paths.push(odd.into());
        }
        paths.extend([b"/\xff\xfe".to_vec(), b"/a\0b".to_vec(), b"/a b".to_vec(), vec![b'/'; 70_000], b"".to_vec()]);
        for path in paths {
            let end = format!(" HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
            let status = raw(&server, &[b"GET ", path.as_slice(), end.as_bytes()].concat()).await;
            assert!(status.is_none_or(|s| (400..500).contains(&s)), "{}: {status:?}", String::from_utf8_lossy(&path));
        }
        let id = uuid::Uuid::new_v4();
        for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PURGE", "get", "M-SEARCH", &"X".repeat(3000)] {
            for path in
                ["/v1/memories", &format!("/v1/memories/{id}"), "/call/incoming", "/healthz", "*", "example.com:80"]
            {
                let text = format!(
                    "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
                );
                let status = raw(&server, text.as_bytes()).await;
                assert!(status.is_none_or(|s| (400..500).contains(&s)), "{method} {path}: {status:?}");
            }
        }
        server.assert_calm(50).await;
    });
}

#[test]
fn what_is_hardly_http_is_refused() {
    world(async |w| {
        let (server, token, _) = fixture(&w).await;
        let head = format!(
            "POST /v1/memories HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-type: application/json\r\n"
        );
        let with = |more: &str| format!("{head}{more}").into_bytes();
        for (what, bytes) in [
            ("noise", b"\x00\x01\x02\r\n\r\n".to_vec()),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
            ("no version", b"GET /healthz\r\n\r\n".to_vec()),
            ("a version to come", b"GET /healthz HTTP/9.9\r\n\r\n".to_vec()),
            ("a header without a name", with(": x\r\n\r\n")),
            ("a header with a space in its name", with("a b: x\r\n\r\n")),
            ("a header with U+0000", with("x-a: a\0b\r\n\r\n")),
            (
                "a token in no encoding",
                b"GET /v1/memories HTTP/1.1\r\nconnection: close\r\nauthorization: Bearer \xff\xfe\r\n\r\n".to_vec(),
            ),
            ("many headers", with(&("x: y\r\n".repeat(2000) + "\r\n"))),
            ("a huge header", with(&format!("x: {}\r\n\r\n", "y".repeat(1_000_000)))),
            ("two lengths", with("content-length: 2\r\ncontent-length: 3\r\n\r\n{} ")),
            ("a negative length", with("content-length: -1\r\n\r\n{}")),
            ("a length beyond all lengths", with("content-length: 99999999999999999999\r\n\r\n{}")),
            (
                "a length and chunks",
                with("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
            ),
            ("an unknown transfer encoding", with("transfer-encoding: rot13\r\n\r\n{}")),
            ("chunks that are none", with("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")),
            ("a chunk beyond all lengths", with("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}")),
            ("a compressed body", with("content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08\x08\x00")),
        ] {
            let status = raw(&server, &bytes).await;
            assert!(status.is_none_or(|s| (400..500).contains(&s)), "{what}: {status:?}");
        }
        let three = "x".repeat(3 << 20);
        let body = format!("{{\"user_id\":\"{CALLER}\",\"content\":\"{three}\"}}");
        let long = with(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let chunked = with(&format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        for (what, bytes) in [("3 MB with a length", long), ("3 MB in a chunk", chunked)] {
            let status = raw(&server, &bytes).await;
            assert!(matches!(status, None | Some(413)), "{what}: {status:?}");
        }
        // The whole of it need not be sent to be refused, and then the answer is sure to arrive.
        let begun = with(&format!("content-length: {}\r\n\r\n{}", body.len(), &body[..=1 << 20]));
        assert_eq!(raw(&server, &begun).await, Some(413), "the first byte too many");
        server.assert_calm(5).await;
    });
}

/// Bodies with the right names and any values, and addresses of any bytes.
#[test]
fn random_requests_are_never_our_fault() {
    world(async |w| {
        let (server, token, _) = fixture(&w).await;
        let one = Service { server: &server, token };
        let mut runner = TestRunner::deterministic();
        let text = proptest::collection::vec(any::<char>(), 0..20).prop_map(|c| c.into_iter().collect::<String>());
        let value = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
            Just(json!(CALLER)),
            text.prop_map(|t| json!([{ t: [] }])),
        ];
        let names = ["user_id", "content", "value", "query", "type", "key", "limit"];
        let object = proptest::collection::vec(value, names.len());
        let bytes = proptest::collection::vec(any::<u8>(), 0..60);
        let mut met = [0; KINDS];
        for n in 0..60 {
            for path in posts() {
                let values = object.new_tree(&mut runner).unwrap().current();
                let body: serde_json::Map<String, Value> = names.map(str::to_owned).into_iter().zip(values).collect();
                let status = one.post(path, &body.into()).await.status;
                assert!(status < 500, "{path}, {n}: {status}");
                met[usize::from(status / 100) - 1] += 1;
                let noise = bytes.new_tree(&mut runner).unwrap().current();
                let request = one.request(Method::POST, path).header("content-type", "application/json").body(noise);
                let status = answer(request).await.status;
                assert!((400..500).contains(&status), "{path}, {n}: {status}");
            }
            let noise = bytes.new_tree(&mut runner).unwrap().current();
            let escaped = form_urlencoded::byte_serialize(&noise).collect::<String>();
            for path in [
                "/v1/memories/",
                "/v1/memories/user/",
                "/v1/memories?type=",
                "/v1/memories?cursor=",
                "/v2/context/enriched?user_id=",
            ] {
                let status = one.get(&format!("{path}{escaped}")).await.status;
                assert!(status < 500, "{path}{escaped}: {status}");
            }
        }
        assert!(met[3] > 100, "most were refused: {met:?}");
        server.assert_calm(500).await;
    });
}

/// The five fields that a call has, in the form's own encoding.
fn form(account: &Account, sid: &str) -> [(&'static str, String); 5] {
    [
        ("CallSid", sid.to_owned()),
        ("AccountSid", account.sid.clone()),
        ("From", "%2B15551234567".to_owned()),
        ("To", "%2B18005550101".to_owned()),
        ("CallStatus", "ringing".to_owned()),
    ]
}

#[rustfmt::skip]
const ODD: [&str; 15] = [
    "", "%00", "a%00b", "%FF%FE", "%", "%zz", "+", "%F0%9F%92%A9", "..", "1e999", "-1", "anonymous", "RESTRICTED", "client:x",
    "sip:a@b.example;x=1",
];
const MORE: [&str; 7] = [
    "SequenceNumber=x",
    "SequenceNumber=99999999999",
    "CallDuration=-1",
    "CallDuration=%00",
    "%00=%00",
    "&&&===",
    "SpeechResult=%00",
];

#[test]
fn odd_webhooks_are_never_our_fault_although_rightly_signed() {
    world(async |w| {
        let (server, _, account) = fixture(&w).await;
        let token = Secret::new(account.token.clone().into_bytes());
        let send = async |path: &str, body: String| {
            let fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let signature = sign_twilio(&token, &format!("{}{path}", server.base_url), &fields);
            let request = server.post(path).header("x-twilio-signature", signature);
            answer(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
        };
        let join =
            |fields: &[(&str, String)]| fields.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&");
        let long = "x".repeat(100_000);
        for path in ["/call/incoming", "/api/twilio/voice", "/call/status"] {
            assert_eq!(send(path, join(&form(&account, "CA1"))).await.status, 200, "the control");
            for (i, (name, _)) in form(&account, "CA2").iter().enumerate() {
                let missing: Vec<_> = form(&account, "CA2").into_iter().filter(|(n, _)| n != name).collect();
                let found = send(path, join(&missing)).await;
                let expected = if *name == "From" { 200..201 } else { 400..500 };
                assert!(expected.contains(&found.status), "{path} without {name}: {found:?}");
                for value in ODD.into_iter().chain([long.as_str()]) {
                    let mut fields = form(&account, "CA3");
                    value.clone_into(&mut fields[i].1);
                    let found = send(path, join(&fields)).await;
                    let may_be = found.status == 200 && ["From", "CallStatus", "CallSid"].contains(name);
                    assert!(may_be || (400..500).contains(&found.status), "{path} {name}={value:.40}: {found:?}");
                }
                let twice = format!("{}&{name}=other", join(&form(&account, "CA4")));
                assert!(send(path, twice).await.status < 500, "{path} {name} twice");
            }
            for more in MORE {
                let found = send(path, format!("{}&{more}", join(&form(&account, "CA5")))).await;
                assert!(found.status < 500, "{path} {more}: {found:?}");
            }
        }
        server.assert_calm(100).await;
    });
}

//! A server that behaves like Twilio's REST API, its failures included. `official_rest.rs` holds it against Twilio's own client.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::Account;

/// Numbers that stand for a refusal, as among Twilio's own test numbers.
pub(crate) const UNAVAILABLE: &str = "+15005550000";
pub(crate) const INVALID: &str = "+15005550001";

/// What becomes of the next request of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// This status; nothing is done.
    Status(u16),
    /// 429 with this Retry-After; nothing is done.
    Busy(&'static str),
    /// 200 and no JSON; nothing is done.
    Garbage,
    /// It is done, and the connection breaks before the answer.
    Lost,
    /// It is done, and a proxy in between says 502.
    DoneAndBadGateway,
}

/// When a held request is held: for ever, so that whoever asked can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    BeforeItIsDone,
    BeforeItIsAnswered,
}

/// A running stub.
#[derive(Clone)]
pub(crate) struct TwilioApi {
    pub(crate) base_url: String,
    state: Arc<Mutex<State>>,
    held: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// By sid, in the order of their making.
    accounts: BTreeMap<String, Known>,
    /// By sid.
    numbers: BTreeMap<String, BTreeMap<String, String>>,
    /// Every purchase that ever was.
    purchases: Vec<String>,
    made: usize,
    failing: VecDeque<(Method, Failing)>,
    hold: Option<(usize, Hold)>,
    seen: Vec<String>,
}

#[derive(Clone)]
struct Known {
    token: String,
    friendly_name: String,
    status: &'static str,
    owner: String,
}

type Fields = BTreeMap<String, String>;
type Answer = (StatusCode, Value);

/// Something that the connection does not survive.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
struct Broken;

impl TwilioApi {
    /// Starts one on a free port that knows these accounts.
    pub(crate) async fn start(accounts: &[&Account]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let api = Self { base_url, state: Arc::default(), held: Arc::default() };
        for account in accounts {
            api.state.lock().unwrap().know(&account.sid, &account.token, "main", &account.sid);
        }
        let serving = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = serving.clone();
                let service = hyper::service::service_fn(move |request| api.clone().serve(request));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        api
    }

    /// The next requests of that method fail so, one after the other.
    pub(crate) fn fail(&self, method: &Method, how: &[Failing]) {
        self.state.lock().unwrap().failing.extend(how.iter().map(|how| (method.clone(), *how)));
    }

    /// The `at`th request from now (the first is 1) is held.
    pub(crate) fn hold(&self, at: usize, when: Hold) {
        let mut state = self.state.lock().unwrap();
        state.seen.clear();
        state.hold = Some((at, when));
    }

    /// Done when a request is held.
    pub(crate) async fn held(&self) {
        self.held.notified().await;
    }

    /// The requests since the last time this was called, or something was held: method and path.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// How often a number was bought.
    pub(crate) fn purchases(&self, number: &str) -> usize {
        self.state.lock().unwrap().purchases.iter().filter(|bought| *bought == number).count()
    }

    /// A number that somebody has, with its account.
    pub(crate) fn number(&self, number: &str) -> Option<BTreeMap<String, String>> {
        self.state.lock().unwrap().numbers.values().find(|fields| fields["phone_number"] == number).cloned()
    }

    /// Sets a field of a number behind the client's back.
    pub(crate) fn meddle(&self, number: &str, field: &str, value: &str) {
        let mut state = self.state.lock().unwrap();
        let fields = state.numbers.values_mut().find(|fields| fields["phone_number"] == number).unwrap();
        fields.insert(field.to_owned(), value.to_owned());
    }

    /// Subaccounts that are not closed and whose name begins so: sid and token.
    pub(crate) fn subaccounts(&self, name: &str) -> Vec<(String, String)> {
        let state = self.state.lock().unwrap();
        let ours = |(sid, known): &(&String, &Known)| {
            **sid != known.owner && known.status == "active" && known.friendly_name.starts_with(name)
        };
        state.accounts.iter().filter(ours).map(|(sid, known)| (sid.clone(), known.token.clone())).collect()
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
        let mut fields: Fields =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        fields.extend(form_urlencoded::parse(&body).into_owned());
        let login = parts.headers.get(header::AUTHORIZATION).and_then(|value| login(value.to_str().ok()?));
        let (how, hold) = self.next(&parts.method, parts.uri.path());
        if hold == Some(Hold::BeforeItIsDone) {
            self.hang().await;
        }
        let answer = match how {
            Some(Failing::Status(status)) => (StatusCode::from_u16(status).unwrap(), error(status, 20500, "An error")),
            Some(Failing::Busy(after)) => {
                let mut busy = respond((StatusCode::TOO_MANY_REQUESTS, error(429, 20429, "Too Many Requests")));
                busy.headers_mut().insert(header::RETRY_AFTER, after.parse().unwrap());
                return Ok(busy);
            }
            Some(Failing::Garbage) => return Ok(Response::new(Full::from("<html>"))),
            Some(Failing::Lost | Failing::DoneAndBadGateway) | None => {
                self.state.lock().unwrap().answer(&parts.method, parts.uri.path(), login.as_ref(), &fields)
            }
        };
        if hold == Some(Hold::BeforeItIsAnswered) {
            self.hang().await;
        }
        match how {
            Some(Failing::Lost) => Err(Broken),
            Some(Failing::DoneAndBadGateway) => Ok(respond((StatusCode::BAD_GATEWAY, Value::Null))),
            _ => Ok(respond(answer)),
        }
    }

    fn next(&self, method: &Method, path: &str) -> (Option<Failing>, Option<Hold>) {
        let mut state = self.state.lock().unwrap();
        state.seen.push(format!("{method} {path}"));
        let place = state.failing.iter().position(|(failing, _)| failing == method);
        let how = place.and_then(|place| state.failing.remove(place)).map(|(_, how)| how);
        let hold = state.hold.filter(|(at, _)| *at == state.seen.len()).map(|(_, when)| when);
        if hold.is_some() {
            state.hold = None;
        }
        (how, hold)
    }

    async fn hang(&self) -> Infallible {
        self.held.notify_one();
        std::future::pending().await
    }
}

fn login(header: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (sid, token) = pair.split_once(':')?;
    Some((sid.to_owned(), token.to_owned()))
}

fn respond((status, body): Answer) -> Response<Full<Bytes>> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

fn error(status: u16, code: u32, message: &str) -> Value {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    json!({ "code": code, "message": message, "more_info": more, "status": status })
}

fn refused(status: u16, code: u32, message: &str) -> Answer {
    (StatusCode::from_u16(status).unwrap(), error(status, code, message))
}

/// One page of a list, as Twilio numbers them.
fn page(uri: &str, key: &str, fields: &Fields, all: &[Value]) -> Answer {
    let size: usize = fields.get("PageSize").map_or(50, |size| size.parse().unwrap());
    let page: usize = fields.get("Page").map_or(0, |page| page.parse().unwrap());
    let of = |page: usize| format!("{uri}?PageSize={size}&Page={page}");
    let start = (page * size).min(all.len());
    let shown = &all[start..(start + size).min(all.len())];
    let next = (start + size < all.len()).then(|| of(page + 1));
    let body = json!({
        key: shown, "page": page, "page_size": size, "start": start, "end": start + shown.len().saturating_sub(1), "uri": of(page),
        "first_page_uri": of(0), "next_page_uri": next, "previous_page_uri": page.checked_sub(1).map(of),
    });
    (StatusCode::OK, body)
}

impl State {
    fn know(&mut self, sid: &str, token: &str, friendly_name: &str, owner: &str) {
        let known = Known {
            token: token.to_owned(),
            friendly_name: friendly_name.to_owned(),
            status: "active",
            owner: owner.to_owned(),
        };
        self.accounts.insert(sid.to_owned(), known);
    }

    fn answer(&mut self, method: &Method, path: &str, login: Option<&(String, String)>, fields: &Fields) -> Answer {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let ["2010-04-01", rest @ ..] = parts.as_slice() else { return refused(404, 20404, "Not Found") };
        let who = login.filter(|(sid, token)| self.accounts.get(sid).is_some_and(|known| known.token == *token));
        let Some((who, _)) = who else { return refused(401, 20003, "Authenticate") };
        match (method, rest) {
            (&Method::POST, ["Accounts.json"]) => self.make_account(who, fields),
            (&Method::GET, ["Accounts.json"]) => {
                let wanted = |known: &Known| fields.get("FriendlyName").is_none_or(|name| *name == known.friendly_name);
                let ours = self.accounts.iter().filter(|(_, known)| known.owner == *who && wanted(known));
                // The newest first.
                let all: Vec<Value> = ours.rev().map(|(sid, known)| told(sid, known)).collect();
                page("/2010-04-01/Accounts.json", "accounts", fields, &all)
            }
            (&Method::POST, ["Accounts", file]) => self.change_account(who, file.trim_end_matches(".json"), fields),
            (_, ["Accounts", sid, rest @ ..]) => match self.accounts.get(*sid) {
                Some(known) if known.status == "closed" => refused(401, 20005, "Account not active"),
                Some(known) if who == *sid || known.owner == *who => self.within(method, sid, rest, fields),
                _ => refused(404, 20404, "The requested resource was not found"),
            },
            _ => refused(404, 20404, "The requested resource was not found"),
        }
    }

    fn make_account(&mut self, who: &str, fields: &Fields) -> Answer {
        self.made += 1;
        let (sid, token) = (format!("AC5{:031x}", self.made), format!("subaccount-token-{}", self.made));
        let name = fields.get("FriendlyName").cloned().unwrap_or_default();
        if name.chars().count() > 64 {
            return refused(400, 20001, "FriendlyName is too long");
        }
        self.know(&sid, &token, &name, who);
        (StatusCode::CREATED, told(&sid, &self.accounts[&sid]))
    }

    fn change_account(&mut self, who: &str, sid: &str, fields: &Fields) -> Answer {
        let Some(known) = self.accounts.get_mut(sid).filter(|known| sid == who || known.owner == who) else {
            return refused(404, 20404, "The requested resource was not found");
        };
        if fields.get("Status").is_some_and(|status| status == "closed") {
            known.status = "closed";
            self.numbers.retain(|_, number| number["account_sid"] != sid);
        }
        (StatusCode::OK, told(sid, &self.accounts[sid]))
    }

    fn within(&mut self, method: &Method, account: &str, rest: &[&str], fields: &Fields) -> Answer {
        match (method, rest) {
            (&Method::GET, ["AvailablePhoneNumbers", country, kind]) => {
                let uri = format!("/2010-04-01/Accounts/{account}/AvailablePhoneNumbers/{country}/{kind}");
                match for_sale(country, kind, fields) {
                    Some(all) => page(&uri, "available_phone_numbers", fields, &all),
                    None => refused(404, 20404, "The requested resource was not found"),
                }
            }
            (&Method::GET, ["IncomingPhoneNumbers.json"]) => {
                let ours = |number: &&Fields| {
                    number["account_sid"] == account
                        && fields.get("PhoneNumber").is_none_or(|part| number["phone_number"].contains(part.as_str()))
                };
                let all: Vec<Value> = self.numbers.values().filter(ours).map(|fields| json!(fields)).collect();
                let uri = format!("/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json");
                page(&uri, "incoming_phone_numbers", fields, &all)
            }
            (&Method::POST, ["IncomingPhoneNumbers.json"]) => self.sell(account, fields),
            (_, ["IncomingPhoneNumbers", file]) => {
                let sid = file.trim_end_matches(".json").to_owned();
                let ours = self.numbers.get_mut(&sid).filter(|number| number["account_sid"] == account);
                match (method, ours) {
                    (&Method::POST, Some(number)) => {
                        set(number, fields);
                        (StatusCode::OK, json!(number))
                    }
                    (&Method::DELETE, Some(_)) => {
                        self.numbers.remove(&sid);
                        (StatusCode::NO_CONTENT, Value::Null)
                    }
                    _ => refused(404, 20404, "The requested resource was not found"),
                }
            }
            _ => refused(404, 20404, "The requested resource was not found"),
        }
    }

    fn sell(&mut self, account: &str, fields: &Fields) -> Answer {
        let number = fields["PhoneNumber"].as_str();
        let taken = self.numbers.values().any(|owned| owned["phone_number"] == number);
        if number == INVALID {
            return refused(400, 21421, &format!("{number} is not a valid number"));
        }
        if taken || number == UNAVAILABLE {
            return refused(400, 21422, &format!("{number} is not available."));
        }
        if number.starts_with("+44") {
            return refused(400, 21649, "Bundle required and not provided");
        }
        self.purchases.push(number.to_owned());
        let sid = format!("PN{:032x}", self.purchases.len());
        let mut owned = Fields::from([
            ("sid".to_owned(), sid.clone()),
            ("account_sid".to_owned(), account.to_owned()),
            ("phone_number".to_owned(), number.to_owned()),
        ]);
        set(&mut owned, fields);
        self.numbers.insert(sid, owned.clone());
        (StatusCode::CREATED, json!(owned))
    }
}

fn told(sid: &str, known: &Known) -> Value {
    json!({ "sid": sid, "auth_token": known.token, "friendly_name": known.friendly_name, "status": known.status,
            "owner_account_sid": known.owner, "type": "Full" })
}

fn set(number: &mut Fields, fields: &Fields) {
    for (name, of_twilio) in [
        ("voice_url", "VoiceUrl"),
        ("voice_method", "VoiceMethod"),
        ("status_callback", "StatusCallback"),
        ("status_callback_method", "StatusCallbackMethod"),
        ("sms_url", "SmsUrl"),
        ("sms_method", "SmsMethod"),
        ("voice_application_sid", "VoiceApplicationSid"),
        ("sms_application_sid", "SmsApplicationSid"),
    ] {
        if let Some(value) = fields.get(of_twilio) {
            number.insert(name.to_owned(), value.clone());
        }
    }
}

/// Numbers of one country and four kinds of file; `None` where Twilio sells none.
fn for_sale(country: &str, kind: &str, fields: &Fields) -> Option<Vec<Value>> {
    let prefix = match (country, kind) {
        ("US", "Local.json") => format!("+1{}555", fields.get("AreaCode").map_or("212", String::as_str)),
        ("US", "TollFree.json") => "+1888555".to_owned(),
        ("KE", "Mobile.json") => "+25470000".to_owned(),
        _ => return None,
    };
    let wanted = |number: &String| fields.get("Contains").is_none_or(|part| number.contains(part.as_str()));
    let numbers = (100..150).map(|n| format!("{prefix}0{n}")).filter(wanted);
    let shown = |number: String| {
        json!({ "phone_number": number, "friendly_name": number, "locality": "New York", "region": "NY", "iso_country": country,
                "capabilities": { "voice": true, "SMS": true, "MMS": true }, "address_requirements": "none", "beta": false })
    };
    Some(numbers.map(shown).collect())
}

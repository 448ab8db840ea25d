//! A provider's account that signs its webhooks.

use reqwest::{RequestBuilder, Response};
use strowger::auth::webhook::sign_twilio;
use strowger::vault::Secret;

use super::Server;

/// A Twilio account with its auth token.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) sid: String,
    pub(crate) token: String,
}

impl Account {
    /// An account numbered `n`.
    pub(crate) fn new(n: u32) -> Self {
        Self { sid: format!("AC{n:032x}"), token: format!("auth-token-{n}") }
    }

    /// The fields of an incoming call.
    pub(crate) fn call(&self, from: &str, to: &str) -> Vec<(String, String)> {
        let sid = format!("CA{}", uuid::Uuid::new_v4().simple());
        [
            ("CallSid", sid.as_str()),
            ("AccountSid", &self.sid),
            ("From", from),
            ("To", to),
            ("CallStatus", "ringing"),
            ("Direction", "inbound"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// A webhook request signed by this account.
    pub(crate) fn signed(&self, server: &Server, path: &str, fields: &[(String, String)]) -> RequestBuilder {
        let url = format!("{}{path}", server.base_url);
        let signature = sign_twilio(&Secret::new(self.token.clone().into_bytes()), &url, fields);
        server.post(path).header("X-Twilio-Signature", signature).form(fields)
    }

    /// Calls a number.
    pub(crate) async fn dial(&self, server: &Server, from: &str, to: &str) -> Response {
        self.signed(server, "/call/incoming", &self.call(from, to)).send().await.unwrap()
    }
}

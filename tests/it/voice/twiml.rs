//! What Twilio is told in its own words: how to listen, and in which language and voice to speak.

use serde_json::json;

use super::Line;
use crate::support::{Server, answer, world};

impl Line {
    /// The answer as it is sent.
    async fn twiml(&self, server: &Server, path: &str, more: &[(&str, &str)]) -> String {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let fields: Vec<_> = self.call.iter().cloned().chain(more).collect();
        answer(self.account.signed(server, path, &fields)).await.body.as_str().unwrap().to_owned()
    }
}

/// Turns red when `speak` in `http/twiml.rs` listens for speech alone, or leaves the language off `Gather` or `Say`, or the voice.
#[test]
fn every_turn_listens_and_speaks_as_the_tenant_says() {
    world(async |w| {
        let server = w.server();
        let line = Line::open(&w).await;
        w.configure(line.tenant, &json!({ "language": "es-MX", "voice": "Polly.Mia" })).await;
        line.scenario("cuáles son sus horarios", "De ocho a seis.", "none").await;
        line.scenario("quiero dejar un recado", "Con gusto.", "take_message").await;
        let listens = |turn: u32, keys: &str, said: &str| {
            let action = format!("{}/call/turn?turn={turn}", server.base_url);
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>\
                 <Gather input=\"speech dtmf\" action=\"{action}\" method=\"POST\" timeout=\"6\" speechTimeout=\"auto\" \
                 actionOnEmptyResult=\"true\"{keys} language=\"es-MX\">\
                 <Say voice=\"Polly.Mia\" language=\"es-MX\">{said}</Say></Gather></Response>"
            )
        };
        let one_key = " numDigits=\"1\"";
        let greeting = line.twiml(&server, "/call/incoming", &[]).await;
        assert_eq!(greeting, listens(1, one_key, "Hello, this is your assistant. How can I help you?"));
        let said = async |turn: u32, said: &str| {
            line.twiml(&server, &format!("/call/turn?turn={turn}"), &[("SpeechResult", said)]).await
        };
        assert_eq!(said(1, "cuáles son sus horarios").await, listens(2, one_key, "De ocho a seis."));
        let message = said(2, "quiero dejar un recado").await;
        assert_eq!(message, listens(3, "", "Con gusto. ¿Qué mensaje desea dejar?"), "a number is left with many keys");
        let silence = line.twiml(&server, "/call/turn?turn=3", &[]).await;
        assert_eq!(silence, listens(4, "", "¿Sigue ahí? ¿En qué puedo ayudarle?"));
    });
}

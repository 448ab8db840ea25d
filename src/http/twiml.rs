//! TwiML, Twilio's XML.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::voice::{Awaits, Spoken};
use crate::auth::webhook::PublicUrl;

/// How long a caller may say nothing, in seconds, before that is a turn too.
const SILENCE_S: u8 = 6;
/// How long a person's telephone rings, in seconds.
const RINGS_S: u8 = 25;

/// Says a sentence, and then calls a person, listens, or ends the call. What comes of it is sent to us as the next turn.
pub(super) fn speak(spoken: &Spoken, ours: &PublicUrl) -> Response {
    let say = say(spoken);
    let Some((turn, awaits)) = spoken.listens else { return response(&format!("{say}<Hangup/>")) };
    let action = escape(&format!("{ours}/call/turn?turn={turn}"));
    response(&match &spoken.dial {
        Some(person) => {
            let person = escape(person.as_str());
            format!(
                "{say}<Dial action=\"{action}\" method=\"POST\" timeout=\"{RINGS_S}\"><Number>{person}</Number></Dial>"
            )
        }
        None => {
            let language = attribute("language", &spoken.language);
            // One key is a choice; a number that is left with a message has many, and ends with #.
            let keys = if awaits == Awaits::Question { " numDigits=\"1\"" } else { "" };
            format!(
                "<Gather input=\"speech dtmf\" action=\"{action}\" method=\"POST\" timeout=\"{SILENCE_S}\" \
                 speechTimeout=\"auto\" actionOnEmptyResult=\"true\"{keys}{language}>{say}</Gather>"
            )
        }
    })
}

fn say(spoken: &Spoken) -> String {
    if spoken.text.is_empty() {
        return String::new();
    }
    let attributes = attribute("voice", &spoken.voice) + &attribute("language", &spoken.language);
    format!("<Say{attributes}>{}</Say>", escape(&spoken.text))
}

fn attribute(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(" {name}=\"{}\"", escape(value)) }
}

/// Does nothing.
pub(super) fn nothing() -> Response {
    response("")
}

fn response(verbs: &str) -> Response {
    let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{verbs}</Response>");
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], xml).into_response()
}

/// Text as XML: the five marked characters escaped, what XML 1.0 cannot hold left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_said_can_become_markup() {
        assert_eq!(super::escape("a<b>&\"c'\u{1}\u{fffe}é"), "a&lt;b&gt;&amp;&quot;c&apos;é");
    }
}

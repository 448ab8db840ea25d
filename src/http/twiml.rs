//! TwiML, Twilio's XML.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::voice::Said;

/// Says a sentence.
pub(super) fn say(said: &Said) -> Response {
    let mut attributes = String::new();
    for (name, value) in [("voice", &said.voice), ("language", &said.language)] {
        if !value.is_empty() {
            let _ = write!(attributes, " {name}=\"{}\"", escape(value));
        }
    }
    response(&format!("<Say{attributes}>{}</Say>", escape(&said.text)))
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

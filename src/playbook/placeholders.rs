//! `{name}` in a reply becomes the tenant's value of that variable.
//!
//! The rule that must hold: a caller never hears a placeholder. A brace that is not one is left as it is.

use std::collections::HashMap;
use std::hash::BuildHasher;

/// A piece of a reply.
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// The first reply whose variables all have values; where none has, the sentences of the first that need none without.
///
/// `None` when nothing is left to say.
pub fn fill<S: BuildHasher>(replies: &[&str], values: &HashMap<String, String, S>) -> Option<String> {
    let whole = replies.iter().filter_map(|reply| filled(reply, values)).find(|text| !text.trim().is_empty());
    whole.or_else(|| {
        let sentences: String = sentences(replies.first()?).filter_map(|s| filled(s, values)).collect();
        Some(sentences.trim().to_owned()).filter(|text| !text.is_empty())
    })
}

/// The variables that a reply names, as often as it does.
pub fn names(reply: &str) -> impl Iterator<Item = &str> {
    pieces(reply).into_iter().filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        Piece::Text(_) => None,
    })
}

fn filled<S: BuildHasher>(text: &str, values: &HashMap<String, String, S>) -> Option<String> {
    let piece = |piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::Name(name) => values.get(name).map(String::as_str),
    };
    pieces(text).into_iter().map(piece).collect()
}

fn pieces(mut text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    while let Some(open) = text.find('{') {
        let (before, rest) = text.split_at(open);
        let name = rest[1..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
        let taken = name.map_or(1, |name| name.len() + 2);
        pieces.push(Piece::Text(before));
        pieces.push(name.map_or(Piece::Text(&rest[..1]), Piece::Name));
        text = &rest[taken..];
    }
    pieces.push(Piece::Text(text));
    pieces
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Each with what ends it and the space after.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?', '。', '\n'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> HashMap<String, String> {
        HashMap::from([("companyName".into(), "Acme {x}".into()), ("price".into(), "150".into())])
    }

    #[test]
    fn the_first_reply_that_can_be_said_is_said() {
        let said = |replies: &[&str]| fill(replies, &values());
        assert_eq!(
            said(&["Welcome to {companyName}.", "Hi."]).unwrap(),
            "Welcome to Acme {x}.",
            "values are not filled again"
        );
        assert_eq!(said(&["Ask {owner}.", "It is {price}."]).unwrap(), "It is 150.");
        assert_eq!(said(&["Hello. Ask {owner}. Bye."]).unwrap(), "Hello. Bye.");
        assert_eq!(said(&["Ask {owner}"]), None);
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["{ {} {a b} }"]).unwrap(), "{ {} {a b} }");
    }

    proptest! {
        #[test]
        fn no_placeholder_is_ever_said(text in "[a-z {}.]{0,40}") {
            if let Some(said) = fill(&[&text], &HashMap::new()) {
                prop_assert!(pieces(&said).iter().all(|piece| matches!(piece, Piece::Text(_))), "{said}");
            }
        }
    }
}

//! What the receptionist says by itself, in the caller's language.
//!
//! Sentences that say nothing of any business: whether the caller is still there, that a message was taken. They are data
//! (`sentences.toml`); a language that is not there gets English.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The sentences of one language.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sentences {
    /// After a silence.
    pub(super) still_there: String,
    /// Before hanging up.
    pub(super) goodbye: String,
    /// Asks for a message.
    pub(super) ask_message: String,
    /// Once there is one.
    pub(super) message_taken: String,
    /// Asks for a time.
    pub(super) ask_time: String,
    /// Once there is one.
    pub(super) time_taken: String,
    /// Before a person is called.
    pub(super) connecting: String,
    /// When that person does not answer; asks for a message.
    pub(super) nobody_free: String,
    /// How callers ask to hear the last sentence again.
    repeat: Vec<String>,
}

static ALL: LazyLock<HashMap<String, Sentences>> =
    // That the file reads, a test says.
    LazyLock::new(|| toml::from_str(include_str!("sentences.toml")).unwrap_or_default());
static NONE: LazyLock<Sentences> = LazyLock::new(Sentences::default);

impl Sentences {
    /// Those of a BCP 47 language: of `es-MX`, the Spanish ones.
    pub(super) fn of(language: &str) -> &'static Self {
        let primary = language.split('-').next().unwrap_or_default().to_lowercase();
        ALL.get(&primary).or_else(|| ALL.get("en")).unwrap_or(&NONE)
    }

    /// Whether all that the caller says is a request to hear the last sentence again.
    pub(super) fn asks_to_repeat(&self, said: &str) -> bool {
        let said = words(said);
        let polite = said.trim_end_matches(" please").trim_start_matches("please ");
        self.repeat.iter().any(|phrase| words(phrase) == polite)
    }
}

/// Letters and digits in lower case, one space between words.
fn words(text: &str) -> String {
    let text = text.to_lowercase().replace(['\'', '’'], "");
    let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_sentence() {
        let all: HashMap<String, Sentences> = toml::from_str(include_str!("sentences.toml")).unwrap();
        assert!(all.len() >= 4);
        for (language, s) in &all {
            let texts = [
                &s.still_there,
                &s.goodbye,
                &s.ask_message,
                &s.message_taken,
                &s.ask_time,
                &s.time_taken,
                &s.connecting,
                &s.nobody_free,
            ];
            assert!(texts.iter().all(|text| !text.is_empty()) && !s.repeat.is_empty(), "{language}");
        }
    }

    #[test]
    fn a_language_is_found_by_its_first_part_and_else_it_is_english() {
        assert_eq!(Sentences::of("es-MX").goodbye, "Gracias por su llamada. Adiós.");
        assert_eq!(Sentences::of("tlh").goodbye, Sentences::of("en-US").goodbye);
    }

    #[test]
    fn a_request_to_repeat_is_the_whole_of_what_is_said() {
        let english = Sentences::of("en-GB");
        for said in ["Pardon?", "Could you repeat that, please?", "I didn’t hear you."] {
            assert!(english.asks_to_repeat(said), "{said}");
        }
        for said in ["Pardon me, what does it cost?", "", "I want to repeat my order"] {
            assert!(!english.asks_to_repeat(said), "{said}");
        }
    }
}

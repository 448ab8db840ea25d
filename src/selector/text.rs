//! From what was said to the stems that are compared.

use std::collections::HashSet;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;

/// No more of an utterance is looked at: a caller's turn is a few sentences.
const LONGEST_CHARS: usize = 2000;

/// Lower-case words without diacritics, punctuation or differences of width.
pub(super) fn words(text: &str) -> Vec<String> {
    let folded: String = text
        .chars()
        .take(LONGEST_CHARS)
        .nfkd()
        .filter(|c| !('\u{300}'..='\u{36f}').contains(c))
        .flat_map(char::to_lowercase)
        .collect();
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Groups of words that are taken out of what is said.
#[derive(Debug, Default)]
pub(super) struct Fillers {
    known: HashSet<Vec<String>>,
    longest: usize,
}

impl Fillers {
    pub(super) fn new<'a>(fillers: impl IntoIterator<Item = &'a str>) -> Self {
        let known: HashSet<_> = fillers.into_iter().map(words).filter(|filler| !filler.is_empty()).collect();
        let longest = known.iter().map(Vec::len).max().unwrap_or(0);
        Self { known, longest }
    }

    /// What remains, and how many words went. Where nothing would remain, everything does: a caller who only says "hello" said
    /// something.
    ///
    /// A word that ends a filler takes it away at once, the shortest first. So a single filler word is gone before anything
    /// else can be made of it, and it makes no difference where somebody hesitates.
    pub(super) fn strip(&self, said: Vec<String>) -> (Vec<String>, usize) {
        let before = said.len();
        let mut kept: Vec<String> = Vec::with_capacity(before);
        for word in said.iter().cloned() {
            kept.push(word);
            let filler = (1..=self.longest.min(kept.len())).find(|n| self.known.contains(&kept[kept.len() - n..]));
            kept.truncate(kept.len() - filler.unwrap_or(0));
        }
        if kept.is_empty() {
            (said, 0)
        } else {
            let stripped = before - kept.len();
            (kept, stripped)
        }
    }
}

/// Words of a language that carry little by themselves, and how its words become stems.
pub(super) struct Language {
    stemmer: Option<Stemmer>,
    glue: HashSet<&'static str>,
    english: bool,
}

impl Language {
    /// By BCP 47 tag. A language that is not known is compared word by word.
    pub(super) fn new(tag: &str) -> Self {
        let primary = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let english = primary == "en";
        let glue = if english { include_str!("glue/en.txt") } else { "" };
        Self {
            english,
            stemmer: algorithm(&primary).map(Stemmer::create),
            glue: glue.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect(),
        }
    }

    pub(super) fn stem(&self, word: &str) -> String {
        self.stemmer.as_ref().map_or_else(|| word.to_owned(), |stemmer| stemmer.stem(word).into_owned())
    }

    pub(super) fn is_english(&self) -> bool {
        self.english
    }

    pub(super) fn is_glue(&self, word: &str) -> bool {
        self.glue.contains(word)
    }
}

fn algorithm(primary: &str) -> Option<Algorithm> {
    Some(match primary {
        "ar" => Algorithm::Arabic,
        "da" => Algorithm::Danish,
        "de" => Algorithm::German,
        "el" => Algorithm::Greek,
        "en" => Algorithm::English,
        "es" => Algorithm::Spanish,
        "fi" => Algorithm::Finnish,
        "fr" => Algorithm::French,
        "hu" => Algorithm::Hungarian,
        "it" => Algorithm::Italian,
        "nb" | "nn" | "no" => Algorithm::Norwegian,
        "nl" => Algorithm::Dutch,
        "pt" => Algorithm::Portuguese,
        "ro" => Algorithm::Romanian,
        "ru" => Algorithm::Russian,
        "sv" => Algorithm::Swedish,
        "ta" => Algorithm::Tamil,
        "tr" => Algorithm::Turkish,
        _ => return None,
    })
}

//! What a conversation says about itself, by counting: a summary, topics, named values and how the caller came across.
//!
//! No model is asked, so this always works, costs milliseconds, and gives the same answer for the same words. It is honest about
//! what it is: a summary is sentences that were said, not an understanding of them. No trade's vocabulary stands here; what is
//! known of English stands in `lexicon.txt`, and other languages get less out of it, not nonsense.
//!
//! A leaf: no IO. The work is bounded by the length of the conversation, which whoever calls limits.

mod lexicon;
mod personality;
mod summary;
mod text;
mod topics;
mod variables;

pub use personality::Personality;
pub use variables::{Amount, Variables};

use crate::id::Region;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// Who called.
    Caller,
    /// Who answered.
    Receptionist,
}

/// Something that was said without interruption.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// By whom.
    pub speaker: Speaker,
    /// What.
    pub text: &'a str,
}

/// What was found in a conversation.
#[derive(Debug)]
pub struct Analysis {
    /// At most three of the sentences that were said, and who said them.
    pub summary: String,
    /// At most five phrases, the most discussed first.
    pub key_topics: Vec<String>,
    /// Dates, amounts and the like.
    pub variables: Variables,
    /// How the caller came across; `None` when nothing was heard of the caller.
    pub personality: Option<Personality>,
}

/// Analyses a conversation. `region` says how its people write local phone numbers.
pub fn analyse(turns: &[Turn<'_>], region: Region) -> Analysis {
    Analysis {
        summary: summary::extract(turns),
        key_topics: topics::find(turns),
        variables: variables::find(turns, region),
        personality: personality::measure(turns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn speaker() -> impl Strategy<Value = Speaker> {
        prop_oneof![Just(Speaker::Caller), Just(Speaker::Receptionist)]
    }

    proptest! {
        #[test]
        fn any_conversation_has_an_analysis_within_bounds(
            said in proptest::collection::vec((speaker(), "(\\PC|[ .?$@+0-9apm/:-]){0,60}"), 0..12),
        ) {
            let turns: Vec<_> = said.iter().map(|(speaker, text)| Turn { speaker: *speaker, text }).collect();
            let found = analyse(&turns, "US".parse().unwrap());
            prop_assert!(found.summary.chars().count() <= 1000 && !found.summary.is_empty());
            prop_assert!(found.key_topics.len() <= 5);
            if let Some(metrics) = found.personality {
                for (name, value) in metrics.named() {
                    prop_assert!((0.0..=100.0).contains(&value), "{name}: {value}");
                }
            }
        }
    }
}

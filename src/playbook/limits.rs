//! How much a playbook may say, and a business in its own copy.

/// Of what is told to people who choose a playbook.
pub const ABOUT_CHARS: usize = 1000;
/// An index of so many is prepared in milliseconds.
pub const SCENARIOS: usize = 1000;
/// Of a scenario's key.
pub const KEY_CHARS: usize = 64;
/// Of a scenario's name, or a variable's label.
pub const NAME_CHARS: usize = 200;
/// Of a category.
pub const CATEGORY_CHARS: usize = 100;
/// Of one scenario.
pub const PHRASES: usize = 100;
/// Of a phrase.
pub const PHRASE_CHARS: usize = 500;
/// Of one scenario.
pub const REPLIES: usize = 20;
/// Of a reply.
pub const REPLY_CHARS: usize = 2000;
/// Of what is asked after a reply.
pub const FOLLOW_UP_CHARS: usize = 1000;
/// Of what a model is told about a reply.
pub const BEHAVIOR_CHARS: usize = 2000;
/// Fillers, and urgency keywords.
pub const WORDS: usize = 500;
/// Of one of them.
pub const WORD_CHARS: usize = 100;
/// One request sets all of them.
pub const VARIABLES: usize = 100;
/// Of a variable's value.
pub const VALUE_CHARS: usize = 1000;

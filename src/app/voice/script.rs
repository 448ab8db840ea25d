//! How a conversation goes on: what was heard, and where it stands, into what is said and done next.
//!
//! Pure: no database, no provider, no clock. What the caller asks is answered elsewhere; here is what holds for every answer: a
//! silence is asked about and ends the call when it goes on, a request to repeat repeats, and `0` or a question that nothing answers
//! leads to a person, or to a message where there is none.

use super::sentences::Sentences;
use crate::phone::PhoneNumber;
use crate::playbook::Hook;

/// After so many silences in a row the call is ended.
const SILENCES: u8 = 3;
/// A call has no more turns than that: whoever talks to a machine for an hour is one.
pub(super) const TURNS: i32 = 60;

/// What reached us in a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Silence.
    Nothing,
    /// Words.
    Said(String),
    /// Keys.
    Pressed(String),
    /// How the call to a person ended.
    Dialled {
        /// Whether they talked.
        answered: bool,
    },
}

/// What the caller's next words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Awaits {
    /// Something to be answered.
    #[default]
    Question,
    /// A message for the business.
    Message,
    /// A day and time that would suit.
    Time,
}

/// What the provider is to do once the reply is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Listen for the caller.
    Listen,
    /// Call the tenant's person.
    Dial,
    /// End the call.
    HangUp,
}

macro_rules! stored_as {
    ($type:ident: $($variant:ident = $text:literal),*; else $other:ident) => {
        impl $type {
            /// As stored.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Reads what is stored; a newer build's word is taken as the harmless one.
            pub(super) fn parse(text: &str) -> Self {
                match text { $($text => Self::$variant,)* _ => Self::$other }
            }
        }
    };
}
stored_as! { Awaits: Question = "question", Message = "message", Time = "time"; else Question }
stored_as! { Next: Listen = "listen", Dial = "dial", HangUp = "hang_up"; else Listen }

/// Where a conversation stands after a turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// What the caller's next words are.
    pub(super) awaits: Awaits,
    /// Silences in a row.
    pub(super) silences: u8,
}

/// What is said and done in a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The sentence.
    pub(super) text: String,
    /// What comes then.
    pub(super) next: Next,
    /// Where that leaves the conversation.
    pub(super) standing: Standing,
    /// What the caller leaves for the business with this turn.
    pub(super) left: Option<Left>,
}

/// What a caller leaves for the business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// A message.
    Message(String),
    /// A time that would suit.
    Time(String),
}

/// What a turn starts from.
pub(super) struct Script<'a> {
    pub(super) sentences: &'a Sentences,
    /// Who is called when the caller asks for a person.
    pub(super) person: Option<&'a PhoneNumber>,
    /// Where the turn before left the conversation.
    pub(super) before: Standing,
    /// What was said last.
    pub(super) last: &'a str,
    /// Which turn this is.
    pub(super) turn: i32,
}

/// What is to be done about a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// It needs no answer from anywhere.
    Say(Reply),
    /// The caller asked this.
    Answer(String),
}

impl Script<'_> {
    /// What is to be done about what was heard.
    pub(super) fn hear(&self, heard: Heard) -> Todo {
        if self.turn > TURNS {
            return Todo::Say(reply(&self.sentences.goodbye, Next::HangUp, Standing::default()));
        }
        match heard {
            Heard::Nothing => Todo::Say(self.silence()),
            Heard::Dialled { answered: true } => Todo::Say(reply("", Next::HangUp, Standing::default())),
            Heard::Dialled { answered: false } => Todo::Say(ask(Awaits::Message, &self.sentences.nobody_free)),
            Heard::Pressed(keys) if keys == "0" => Todo::Say(match self.person {
                Some(_) => self.person(&self.sentences.connecting),
                None => self.person(""),
            }),
            Heard::Pressed(keys) if keys == "*" => Todo::Say(self.again()),
            Heard::Said(text) | Heard::Pressed(text) if self.before.awaits != Awaits::Question => {
                Todo::Say(self.take(text))
            }
            // Keys mean nothing to a question.
            Heard::Pressed(_) => Todo::Say(self.again()),
            Heard::Said(text) if self.sentences.asks_to_repeat(&text) => Todo::Say(self.again()),
            Heard::Said(text) => Todo::Answer(text),
        }
    }

    /// What follows an answer.
    pub(super) fn answered(&self, text: &str, hook: Hook) -> Reply {
        match hook {
            Hook::None => reply(text, Next::Listen, Standing::default()),
            Hook::HangUp => reply(text, Next::HangUp, Standing::default()),
            Hook::Escalate => self.person(text),
            Hook::TakeMessage => ask(Awaits::Message, &joined(text, &self.sentences.ask_message)),
            Hook::OfferScheduling => ask(Awaits::Time, &joined(text, &self.sentences.ask_time)),
        }
    }

    /// What follows a question that nothing answers: a person, and until one is there a message.
    pub(super) fn unanswered(&self, fallback: &str) -> Reply {
        match self.person {
            Some(_) => self.person(fallback),
            None => ask(Awaits::Message, &joined(fallback, &self.sentences.ask_message)),
        }
    }

    fn silence(&self) -> Reply {
        let silences = self.before.silences + 1;
        let standing = Standing { silences, ..self.before.clone() };
        if silences >= SILENCES {
            reply(&self.sentences.goodbye, Next::HangUp, standing)
        } else {
            reply(&self.sentences.still_there, Next::Listen, standing)
        }
    }

    /// A person is called; where there is none, a message is taken. Either way the caller hears the text first: it may be what to do
    /// until somebody comes.
    fn person(&self, text: &str) -> Reply {
        match self.person {
            Some(_) => reply(text, Next::Dial, Standing::default()),
            None => ask(Awaits::Message, &joined(text, &self.sentences.nobody_free)),
        }
    }

    /// The last sentence once more; nothing else changes.
    fn again(&self) -> Reply {
        reply(self.last, Next::Listen, Standing { silences: 0, ..self.before.clone() })
    }

    fn take(&self, text: String) -> Reply {
        let (said, left) = match self.before.awaits {
            Awaits::Time => (&self.sentences.time_taken, Left::Time(text)),
            _ => (&self.sentences.message_taken, Left::Message(text)),
        };
        Reply { left: Some(left), ..reply(said, Next::Listen, Standing::default()) }
    }
}

fn ask(awaits: Awaits, text: &str) -> Reply {
    reply(text, Next::Listen, Standing { awaits, ..Standing::default() })
}

fn reply(text: &str, next: Next, standing: Standing) -> Reply {
    Reply { text: text.to_owned(), next, standing, left: None }
}

fn joined(first: &str, then: &str) -> String {
    format!("{first} {then}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn script(person: Option<&PhoneNumber>, before: Standing) -> Script<'_> {
        Script { sentences: Sentences::of("en"), person, before, last: "What I said.", turn: 3 }
    }

    fn awaiting(awaits: Awaits) -> Standing {
        Standing { awaits, ..Standing::default() }
    }

    fn said(todo: Todo) -> Reply {
        match todo {
            Todo::Say(reply) => reply,
            Todo::Answer(text) => panic!("asked to answer {text}"),
        }
    }

    #[test]
    fn a_silence_is_asked_about_twice_and_then_the_call_ends() {
        let mut before = awaiting(Awaits::Message);
        for expected in [Next::Listen, Next::Listen, Next::HangUp] {
            let reply = said(script(None, before).hear(Heard::Nothing));
            assert_eq!((reply.next, reply.standing.awaits), (expected, Awaits::Message), "what is awaited stays");
            before = reply.standing;
        }
    }

    #[test]
    fn words_after_a_silence_start_the_count_anew() {
        let before = Standing { silences: 2, ..Standing::default() };
        assert_eq!(script(None, before.clone()).hear(Heard::Said("hours".into())), Todo::Answer("hours".into()));
        assert_eq!(script(None, before).answered("Nine to five.", Hook::None).standing, Standing::default());
    }

    #[test]
    fn a_person_is_called_where_there_is_one_and_else_a_message_taken() {
        let person = "+15550009999".parse().unwrap();
        let (with, without) = (script(Some(&person), Standing::default()), script(None, Standing::default()));
        let zero = || Heard::Pressed("0".into());
        assert_eq!(said(with.hear(zero())).next, Next::Dial);
        assert_eq!(said(without.hear(zero())), ask(Awaits::Message, &without.sentences.nobody_free));
        assert_eq!(with.unanswered("I'll connect you.").next, Next::Dial);
        assert_eq!(without.unanswered("I'll see.").standing.awaits, Awaits::Message);
        assert_eq!(with.answered("One moment.", Hook::Escalate).text, "One moment.");
        let late = without.answered("Leave the house.", Hook::Escalate);
        assert!(late.text.starts_with("Leave the house. I am sorry, nobody is free"), "{late:?}");
        assert_eq!(late.standing.awaits, Awaits::Message);
    }

    #[test]
    fn how_the_call_to_a_person_ended_decides() {
        let s = script(None, Standing::default());
        assert_eq!(said(s.hear(Heard::Dialled { answered: true })).next, Next::HangUp);
        let sorry = said(s.hear(Heard::Dialled { answered: false }));
        assert_eq!((sorry.next, sorry.standing.awaits), (Next::Listen, Awaits::Message));
    }

    #[test]
    fn what_is_left_is_what_was_awaited() {
        let left = |awaits| said(script(None, awaiting(awaits)).hear(Heard::Said("Tuesday".into()))).left;
        assert_eq!(left(Awaits::Message), Some(Left::Message("Tuesday".into())));
        assert_eq!(left(Awaits::Time), Some(Left::Time("Tuesday".into())));
        let keys = said(script(None, awaiting(Awaits::Message)).hear(Heard::Pressed("5551234".into())));
        assert_eq!(keys.left, Some(Left::Message("5551234".into())), "a number may be typed");
    }

    #[test]
    fn a_request_to_repeat_repeats() {
        for heard in [Heard::Said("Pardon?".into()), Heard::Pressed("*".into())] {
            assert_eq!(said(script(None, Standing::default()).hear(heard)).text, "What I said.");
        }
    }

    #[test]
    fn a_call_without_end_is_ended() {
        let s = Script { turn: TURNS + 1, ..script(None, Standing::default()) };
        assert_eq!(said(s.hear(Heard::Said("again".into()))).next, Next::HangUp);
    }

    proptest! {
        /// Whatever callers say and press, a call ends in a silence: the provider's bill does not run on.
        #[test]
        fn silence_ends_every_call(all in proptest::collection::vec((0u8..4, "\\PC{0,12}"), 0..20)) {
            let mut before = Standing::default();
            for (kind, text) in all {
                let heard = match kind {
                    0 => Heard::Nothing,
                    1 => Heard::Said(text),
                    2 => Heard::Pressed(text),
                    _ => Heard::Dialled { answered: false },
                };
                let s = script(None, before.clone());
                before = match s.hear(heard) {
                    Todo::Say(reply) => reply.standing,
                    Todo::Answer(text) => s.answered(&text, Hook::None).standing,
                };
            }
            let mut silences = 0;
            loop {
                silences += 1;
                prop_assert!(silences <= SILENCES);
                let reply = said(script(None, before).hear(Heard::Nothing));
                if reply.next == Next::HangUp {
                    break;
                }
                before = reply.standing;
            }
        }
    }
}

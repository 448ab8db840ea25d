//! A turn of a call: what the caller said, answered from the tenant's own knowledge, its scenarios, the model where the tenant
//! allows it, or the fallback.
//!
//! Where the conversation stands is in the tenant's database, so any server takes the next turn, and a turn that the provider sends
//! twice is answered with what was stored the first time. The connection is let go while a model thinks.

use super::script::{Awaits, Heard, Left, Next, Reply, Script, Standing, Todo};
use super::sentences::Sentences;
use super::{Answering, Call, CallError, Spoken, Voice, first_words, greeting, model, no_calls};
use crate::app::answers::{Answer, Tier};
use crate::app::promises::{self, Item};
use crate::auth::Principal;
use crate::persona::Configuration;
use crate::phone::PhoneNumber;
use crate::playbook::Hook;
use crate::tenant::calls::{self, Opening};
use crate::tenant::turns::{self, NewTurn, OfCall, Saved, Situation, Stored};
use crate::tenant::{Intent, Read, Refused, TenantDb, Write};

/// The longest utterance that is taken in, in characters; the rest is dropped.
const LONGEST: usize = 2000;

/// Takes a turn.
pub async fn turn(with: &Voice<'_>, call: &Call<'_>, number: i32) -> Result<Spoken, CallError> {
    let turn = Turn { with, call, number, heard: heard(call) };
    let mut answering = Answering::default();
    loop {
        let who = answering.next(with.directory, call).await?;
        let spoken = match with.router.open::<Write>(&who).await {
            Ok(db) => turn.take(&who, db).await?,
            // Answered as ever; the call leaves no trace.
            Err(Refused::ReadOnly(_) | Refused::Moving(_)) => {
                turn.take(&who, with.router.open::<Read>(&who).await?).await?
            }
            Err(Refused::Suspended(_)) if answering.is_confirmed(with.directory).await? => {
                return no_calls(with.directory, &who).await;
            }
            Err(Refused::Suspended(_)) => None,
            Err(refused) => return Err(refused.into()),
        };
        if let Some(spoken) = spoken {
            return Ok(spoken);
        }
    }
}

/// What the provider's form says was heard.
fn heard(call: &Call<'_>) -> Heard {
    let field = |name| call.form.field(name).map(str::trim).filter(|text| !text.is_empty());
    let text = |text: &str| text.chars().filter(|c| *c != '\0').take(LONGEST).collect();
    if let Some(status) = field("DialCallStatus") {
        return Heard::Dialled { answered: matches!(status, "completed" | "answered") };
    }
    match (field("SpeechResult"), field("Digits")) {
        (Some(said), _) => Heard::Said(text(said)),
        (None, Some(keys)) => Heard::Pressed(text(keys)),
        (None, None) => Heard::Nothing,
    }
}

struct Turn<'a> {
    with: &'a Voice<'a>,
    call: &'a Call<'a>,
    number: i32,
    heard: Heard,
}

/// An answer before it is stored.
struct Given {
    reply: Reply,
    source: &'static str,
    answer: Option<Answer>,
}

impl Turn<'_> {
    /// `None` when the dialled number is not this tenant's any more.
    async fn take<I: Intent>(&self, who: &Principal, db: TenantDb<I>) -> Result<Option<Spoken>, CallError> {
        let (dialled, sid) = (&self.call.dialled, self.call.sid);
        let Some(opening) = calls::opening(db.conn(), dialled, self.call.caller.as_ref()).await? else {
            return Ok(None);
        };
        let Some(situation) = turns::situation(db.conn(), dialled, sid, self.number).await? else { return Ok(None) };
        if let Some(taken) = situation.taken {
            return Ok(Some(self.spoken(&opening, &taken)));
        }
        if opening.configuration.disabled {
            drop(db);
            return greeting(self.with.directory, who, opening).await.map(Some);
        }
        let before = situation
            .before
            .unwrap_or_else(|| Stored { reply: first_words(&opening).unwrap_or_default(), ..Stored::default() });
        let person = person(&opening);
        let script = Script {
            sentences: Sentences::of(&opening.configuration.language),
            person: person.as_ref(),
            before: standing(&before),
            last: &before.reply,
            turn: self.number,
        };
        let held = db.is_held();
        let given = match script.hear(self.heard.clone()) {
            Todo::Say(reply) => {
                // Nobody waits for a second connection while holding one.
                drop(db);
                Given { reply, source: "script", answer: None }
            }
            Todo::Answer(said) => self.answer(who, db, &script, &opening, &said).await?,
        };
        let stored = stored(&given.reply);
        // What a caller leaves while the tenant moves is refused rather than lost.
        let is_kept = I::WRITES || held && given.reply.left.is_some();
        if !is_kept {
            return Ok(Some(self.spoken(&opening, &stored)));
        }
        self.keep(who, &opening, &given, stored).await
    }

    /// Knowledge, then scenarios, then the model, then the fallback.
    async fn answer<I: Intent>(
        &self,
        who: &Principal,
        db: TenantDb<I>,
        script: &Script<'_>,
        opening: &Opening,
        said: &str,
    ) -> Result<Given, CallError> {
        let answer = self.with.answers.answer(&db, said).await?;
        if answer.tier != Tier::Fallback {
            let text = [answer.text.as_str(), answer.follow_up.as_deref().unwrap_or_default()].join(" ");
            let reply = script.answered(text.trim(), answer.hook.unwrap_or_default());
            let source = if answer.tier == Tier::Knowledge { "knowledge" } else { "scenario" };
            return Ok(Given { reply, source, answer: Some(answer) });
        }
        let worded = model::ask(self.with, who, db, self.call, opening, said, &answer.why).await?;
        Ok(match worded {
            Some(text) => Given { reply: script.answered(&text, Hook::None), source: "model", answer: None },
            None => Given { reply: script.unanswered(&answer.text), source: "fallback", answer: None },
        })
    }

    async fn keep(
        &self,
        who: &Principal,
        opening: &Opening,
        given: &Given,
        stored: Stored,
    ) -> Result<Option<Spoken>, CallError> {
        let (heard_kind, heard) = match &self.heard {
            Heard::Nothing => ("nothing", ""),
            Heard::Said(text) => ("said", text.as_str()),
            Heard::Pressed(keys) => ("pressed", keys.as_str()),
            Heard::Dialled { answered } => ("dialled", if *answered { "answered" } else { "unanswered" }),
        };
        let new = NewTurn {
            turn: self.number,
            heard_kind,
            heard,
            stored: &stored,
            source: given.source,
            source_id: given.answer.as_ref().and_then(|answer| answer.id),
            score: given.answer.as_ref().map(|answer| answer.score),
            left: given.reply.left.as_ref().map(|left| match left {
                Left::Message(text) => ("message", text.as_str()),
                Left::Time(text) => ("appointment", text.as_str()),
            }),
            if_late: &promises::promise(&Item::LateTurn { call_sid: self.call.sid.to_owned(), turn: self.number })?,
        };
        let call = self.call;
        let of = OfCall { number: &call.dialled, sid: call.sid, caller: call.caller.as_ref(), status: call.status };
        let db = self.with.router.open::<Write>(who).await?;
        Ok(match turns::save(db.conn(), &of, &new).await? {
            Saved::Stored => Some(self.spoken(opening, &stored)),
            // Nobody hears it any more.
            Saved::Late => {
                self.with.promises.made_outside(who);
                Some(self.spoken(opening, &stored))
            }
            Saved::NotOurs => None,
            Saved::Taken => match turns::situation(db.conn(), &call.dialled, call.sid, self.number).await? {
                Some(Situation { taken: Some(taken), .. }) => Some(self.spoken(opening, &taken)),
                _ => None,
            },
        })
    }

    fn spoken(&self, opening: &Opening, stored: &Stored) -> Spoken {
        let next = Next::parse(&stored.next);
        Spoken {
            text: stored.reply.clone(),
            language: opening.configuration.language.clone(),
            voice: opening.configuration.voice.clone(),
            dial: person(opening).filter(|_| next == Next::Dial),
            listens: (next != Next::HangUp).then(|| (self.number + 1, Awaits::parse(&stored.awaits))),
        }
    }
}

/// Who takes calls over; nobody outside of the hours.
fn person(opening: &Opening) -> Option<PhoneNumber> {
    let Configuration { escalation_number, hours, .. } = &opening.configuration;
    let is_open = hours.as_ref().is_none_or(|hours| hours.is_open(opening.now));
    escalation_number.as_ref().filter(|_| is_open)?.parse().ok()
}

fn standing(stored: &Stored) -> Standing {
    Standing { awaits: Awaits::parse(&stored.awaits), silences: u8::try_from(stored.silences).unwrap_or(u8::MAX) }
}

fn stored(reply: &Reply) -> Stored {
    Stored {
        reply: reply.text.clone(),
        next: reply.next.as_str().to_owned(),
        awaits: reply.standing.awaits.as_str().to_owned(),
        silences: reply.standing.silences.into(),
    }
}

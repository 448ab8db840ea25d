//! The thirty sliders of a receptionist's manner, and what each says to the model at either end.
//!
//! They are a feature of the product, the same for every tenant; where a tenant sets them is its configuration. A slider near
//! the middle says nothing: thirty instructions at once are no instruction.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One slider.
#[derive(Debug, serde::Serialize)]
pub struct Slider {
    /// As in a configuration.
    pub name: &'static str,
    /// What it tells the model towards 0.
    pub low: &'static str,
    /// What it tells the model towards 100.
    pub high: &'static str,
}

/// Where a slider stands that nobody has moved.
pub const MIDDLE: u8 = 50;

macro_rules! sliders {
    ($($name:literal: $low:literal, $high:literal;)*) => {
        /// All of them, in the order in which a prompt names them.
        pub const SLIDERS: [Slider; 30] = [$(Slider { name: $name, low: $low, high: $high }),*];
    };
}
sliders! {
    "warmth": "Stay cool and businesslike.", "Let it be heard that you are glad about the call.";
    "formality": "Speak casually, as with an acquaintance.", "Speak formally, with titles and family names.";
    "humour": "Make no jokes.", "Allow yourself a light joke where it fits.";
    "patience": "Come to the point, and bring callers back to it.", "Let callers take all the time they want.";
    "assertiveness": "Suggest, and leave every decision to the caller.", "Lead the conversation and say clearly what happens next.";
    "pace": "Speak slowly, with pauses.", "Speak briskly.";
    "brevity": "Explain at length, with examples.", "Answer in one short sentence where you can.";
    "empathy": "Keep to the facts of the matter.", "Name what the caller feels before you turn to the matter.";
    "enthusiasm": "Stay even and calm.", "Show that you like what the business offers.";
    "directness": "Put things gently and indirectly.", "Say things plainly.";
    "curiosity": "Ask only what you must know.", "Ask further questions to understand what lies behind a request.";
    "detail": "Give the outline only.", "Give exact figures, names and dates.";
    "caution": "Answer readily from what you know.", "Say that you will have it confirmed whenever you are not certain.";
    "optimism": "Be sober about what can be done.", "Put forward what is possible.";
    "reassurance": "Leave worries without comment.", "Reassure callers that they are taken care of.";
    "small_talk": "Go straight to the matter.", "Exchange a friendly word before the matter.";
    "use_of_name": "Do not address callers by name.", "Address callers by name often.";
    "vocabulary": "Use the simplest words.", "Use the precise terms of the trade.";
    "storytelling": "Give no anecdotes.", "Make things vivid with a short example from practice.";
    "politeness": "Leave out pleasantries.", "Say please and thank you throughout.";
    "apology": "Do not apologise; say what can be done.", "Apologise for every inconvenience.";
    "persistence": "Accept a no at once.", "After a no, offer one alternative before you let go.";
    "salesmanship": "Sell nothing; only help.", "Point out what else of the offer would suit the caller.";
    "urgency": "Take away any time pressure.", "Convey that acting soon is worth it.";
    "confirmation": "Do not repeat what was said.", "Repeat names, numbers and dates, and have them confirmed.";
    "initiative": "Do what is asked and no more.", "Offer the next step before it is asked for.";
    "flexibility": "Keep to the rules of the house.", "Look for a way around obstacles within what you may promise.";
    "escalation": "Settle everything yourself if you can.", "Offer early to connect the caller with a person.";
    "memory": "Do not mention earlier calls.", "Take up what the caller told you in earlier calls.";
    "closing": "End the call as soon as all is said.", "Sum up what was agreed before you say goodbye.";
}

/// Where the thirty stand: 0 to 100 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliders([u8; SLIDERS.len()]);

impl Default for Sliders {
    fn default() -> Self {
        Self([MIDDLE; SLIDERS.len()])
    }
}

impl Sliders {
    /// Each with where it stands.
    pub fn each(&self) -> impl Iterator<Item = (&'static Slider, u8)> + '_ {
        SLIDERS.iter().zip(self.0)
    }
}

impl Serialize for Sliders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(SLIDERS.len()))?;
        self.each().try_for_each(|(slider, at)| map.serialize_entry(slider.name, &at))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Sliders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByName)
    }
}

struct ByName;

impl<'de> Visitor<'de> for ByName {
    type Value = Sliders;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sliders by their names")
    }

    /// A name that this build does not know was another build's: it says nothing here.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sliders, A::Error> {
        let mut sliders = Sliders::default();
        while let Some((name, at)) = map.next_entry::<String, u8>()? {
            if let Some(place) = SLIDERS.iter().position(|slider| slider.name == name) {
                sliders.0[place] = at.min(100);
            }
        }
        Ok(sliders)
    }
}

//! What becomes of a tenant's clone when its playbook has a newer version: pure, and the same whoever asks.
//!
//! Three sides are compared, place by place: what the playbook said when it was cloned (old), what it says now (new), and what the
//! tenant has made of it (mine). What the tenant did not touch follows the playbook; what only the tenant touched stays; what
//! both made different is a [`Conflict`], and stays the tenant's until somebody chooses.
//!
//! A place is a thing of the playbook's (`/urgency/leak`) or one field of a scenario or variable (`/scenarios/book/replies`): a
//! tenant that has switched a scenario off still gets its better phrases. Two rules beside: a scenario that the tenant deleted
//! stays deleted, and phrases are merged one by one, since it makes no difference in which order they stand.
//!
//! A first clone is the same with an empty old side; so is the way from one playbook to another.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Content, Scenario, Urgency, Variable, limits};

/// What a tenant has of a playbook, and what it has beside that an update could meet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// By key.
    pub scenarios: BTreeMap<String, Mine>,
    /// Those that are inherited.
    pub fillers: BTreeSet<String>,
    /// Those that are inherited.
    pub urgency: BTreeMap<String, f64>,
    /// By name.
    pub variables: BTreeMap<String, Slot>,
}

/// A scenario of a tenant's.
#[derive(Debug, Clone, PartialEq)]
pub struct Mine {
    /// What it says.
    pub scenario: Scenario,
    /// Whether the playbook has it too.
    pub inherited: bool,
    /// Whether it says something else than the playbook's.
    pub edited: bool,
}

/// A variable of a tenant's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slot {
    /// What it is; `None` when only the tenant's own setting of a value made it.
    pub definition: Option<Variable>,
    /// What the tenant set. No update changes it unless it is told to.
    pub value: Option<String>,
}

/// Whose word is taken where both changed the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The playbook's.
    Theirs,
    /// The tenant's.
    Mine,
}

/// By place.
pub type Choices = BTreeMap<String, Choice>;

/// What an update does at one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where.
    pub place: String,
    /// What is there; null: nothing.
    pub from: Value,
    /// What will be; null: nothing.
    pub to: Value,
}

/// A place where the playbook and the tenant have both changed what was there. Null: nothing is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conflict {
    /// Where.
    pub place: String,
    /// What the playbook said when it was cloned.
    pub old: Value,
    /// What it says now.
    pub new: Value,
    /// What the tenant has.
    pub yours: Value,
}

/// What an update comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// What the tenant has afterwards, conflicts left as they are.
    pub state: State,
    /// What that changes.
    pub changes: Vec<Change>,
    /// Where the tenant differs from the playbook and goes on doing so.
    pub kept: Vec<String>,
    /// What nobody has chosen yet.
    pub conflicts: Vec<Conflict>,
}

/// Compares the three sides.
pub fn merge(old: &Content, new: &Content, mine: &State, choices: &Choices) -> Merged {
    let mut merge = Merge { choices, merged: Merged::default() };
    merge.scenarios(old, new, mine);
    merge.variables(old, new, mine);
    merge.fillers(old, new, mine);
    merge.urgency(old, new, mine);
    merge.merged
}

struct Merge<'a> {
    choices: &'a Choices,
    merged: Merged,
}

impl Merge<'_> {
    /// What stands at a place afterwards. The one rule that everything goes by.
    fn settle(&mut self, place: &str, old: &Value, new: &Value, mine: &Value) -> Value {
        if new == mine {
            return mine.clone();
        }
        if old == mine {
            return self.follow(place, new, mine);
        }
        if old == new {
            self.merged.kept.push(place.to_owned());
            return mine.clone();
        }
        match self.choices.get(place) {
            Some(Choice::Theirs) => self.follow(place, new, mine),
            Some(Choice::Mine) => {
                self.merged.kept.push(place.to_owned());
                mine.clone()
            }
            None => {
                let (old, new, yours) = (old.clone(), new.clone(), mine.clone());
                self.merged.conflicts.push(Conflict { place: place.to_owned(), old, new, yours: yours.clone() });
                yours
            }
        }
    }

    fn follow(&mut self, place: &str, new: &Value, mine: &Value) -> Value {
        self.merged.changes.push(Change { place: place.to_owned(), from: mine.clone(), to: new.clone() });
        new.clone()
    }

    /// The fields of a thing that all three sides have.
    fn fields(&mut self, place: &str, old: &Value, new: &Value, mine: &Value) -> Value {
        let names: BTreeSet<&String> =
            [old, new, mine].iter().filter_map(|side| side.as_object()).flat_map(Map::keys).collect();
        let field = |name: &String| {
            let [old, new, mine] = [old, new, mine].map(|side| side.get(name).unwrap_or(&Value::Null));
            let place = format!("{place}/{name}");
            let settled = match name.as_str() {
                "phrases" => self.phrases(&place, old, new, mine),
                _ => self.settle(&place, old, new, mine),
            };
            (name.clone(), settled)
        };
        Value::Object(names.into_iter().map(field).filter(|(_, value)| !value.is_null()).collect())
    }

    /// The playbook's new ones without those that the tenant took out, and then the tenant's own.
    fn phrases(&mut self, place: &str, old: &Value, new: &Value, mine: &Value) -> Value {
        let list = |side: &Value| side.as_array().cloned().unwrap_or_default();
        let [before, theirs, own] = [old, new, mine].map(list);
        if old == mine || old == new || new == mine {
            return self.settle(place, old, new, mine);
        }
        let stays = |phrase: &&Value| own.contains(phrase) || !before.contains(phrase);
        let added = |phrase: &&Value| !before.contains(phrase) && !theirs.contains(phrase);
        let both: Vec<Value> = theirs.iter().filter(stays).chain(own.iter().filter(added)).cloned().collect();
        if both.is_empty() || both.len() > limits::PHRASES {
            return self.settle(place, old, new, mine);
        }
        let both = Value::from(both);
        if both != *mine {
            self.follow(place, &both, mine);
        }
        if both != *new {
            self.merged.kept.push(place.to_owned());
        }
        both
    }

    fn scenarios(&mut self, old: &Content, new: &Content, mine: &State) {
        let (old, new) = (by(&old.scenarios, |s| &s.key), by(&new.scenarios, |s| &s.key));
        for key in keys(&old, &new, &mine.scenarios) {
            let place = format!("/scenarios/{key}");
            let held = mine.scenarios.get(key);
            let (was, is) = (old.get(key).copied(), new.get(key).copied());
            let settled = match (was, is, held) {
                // The tenant deleted it, and the playbook has no say in that.
                (Some(_), _, None) => {
                    self.merged.kept.extend(is.map(|_| place));
                    continue;
                }
                // The playbook never had it.
                (None, None, Some(own)) => Some(own.scenario.clone()),
                (Some(was), Some(is), Some(own)) => {
                    typed(&self.fields(&place, &json!(was), &json!(is), &json!(own.scenario)))
                }
                (was, is, own) => {
                    typed(&self.settle(&place, &json!(was), &json!(is), &json!(own.map(|own| &own.scenario))))
                }
            };
            if let Some(scenario) = settled {
                let edited =
                    is.is_some_and(|is| *is != scenario) || (is.is_none() && held.is_some_and(|own| own.edited));
                let one = Mine { scenario, inherited: is.is_some(), edited };
                self.merged.state.scenarios.insert(key.clone(), one);
            }
        }
    }

    fn variables(&mut self, old: &Content, new: &Content, mine: &State) {
        let (old, new) = (by(&old.variables, |v| &v.name), by(&new.variables, |v| &v.name));
        for name in keys(&old, &new, &mine.variables) {
            let slot = mine.variables.get(name).cloned().unwrap_or_default();
            let (was, is) = (old.get(name).copied(), new.get(name).copied());
            if let Some(slot) = self.variable(&format!("/variables/{name}"), was, is, slot) {
                self.merged.state.variables.insert(name.clone(), slot);
            }
        }
    }

    fn variable(&mut self, place: &str, was: Option<&Variable>, is: Option<&Variable>, slot: Slot) -> Option<Slot> {
        let Slot { definition, value } = slot;
        let Some(is) = is else {
            // What the tenant filled in may be said by its own answers: it stays, as the tenant's own.
            if definition.is_some() && was.is_some() && value.is_none() {
                self.follow(place, &Value::Null, &json!(definition));
                return None;
            }
            return Some(Slot { definition: definition.filter(|_| was.is_none()), value });
        };
        let fits = value.as_deref().is_none_or(|value| value.trim().is_empty() || is.kind.admits(value));
        if !fits && definition.as_ref() != Some(is) && was != Some(is) {
            // Set to what the new definition does not allow: as if the tenant had changed it.
            let settled = self.settle(place, &json!(was), &json!(is), &json!({ "value": value }));
            let theirs = settled == json!(is);
            return Some(if theirs {
                Slot { definition: Some(is.clone()), value: None }
            } else {
                Slot { definition, value }
            });
        }
        let settled = match (was, &definition) {
            (Some(was), Some(own)) => self.fields(place, &json!(was), &json!(is), &json!(own)),
            (was, own) => self.settle(place, &json!(was), &json!(is), &json!(own)),
        };
        Some(Slot { definition: typed(&settled), value })
    }

    /// They are there or not, so they never conflict.
    fn fillers(&mut self, old: &Content, new: &Content, mine: &State) {
        let set = |content: &Content| content.fillers.iter().cloned().collect::<BTreeSet<_>>();
        let sides = [&set(old), &set(new), &mine.fillers];
        for word in sides.into_iter().flatten().collect::<BTreeSet<_>>() {
            let here = |side: &BTreeSet<String>| if side.contains(word) { Value::Bool(true) } else { Value::Null };
            let [old, new, own] = sides.map(here);
            if !self.settle(&format!("/fillers/{word}"), &old, &new, &own).is_null() {
                self.merged.state.fillers.insert(word.clone());
            }
        }
    }

    fn urgency(&mut self, old: &Content, new: &Content, mine: &State) {
        let (old, new) = (by(&old.urgency, |u| &u.word), by(&new.urgency, |u| &u.word));
        for word in keys(&old, &new, &mine.urgency) {
            let weight = |side: &BTreeMap<String, &Urgency>| json!(side.get(word).map(|urgency| urgency.weight));
            let settled =
                self.settle(&format!("/urgency/{word}"), &weight(&old), &weight(&new), &json!(mine.urgency.get(word)));
            if let Some(weight) = settled.as_f64() {
                self.merged.state.urgency.insert(word.clone(), weight);
            }
        }
    }
}

fn by<T>(all: &[T], name: impl Fn(&T) -> &String) -> BTreeMap<String, &T> {
    all.iter().map(|one| (name(one).clone(), one)).collect()
}

/// The names that any side has, in order.
fn keys<'k, A, B, C>(
    old: &'k BTreeMap<String, A>,
    new: &'k BTreeMap<String, B>,
    mine: &'k BTreeMap<String, C>,
) -> BTreeSet<&'k String> {
    old.keys().chain(new.keys()).chain(mine.keys()).collect()
}

/// Back from its fields, each of which came from such a thing; `None` if nothing is left of it.
fn typed<T: serde::de::DeserializeOwned>(settled: &Value) -> Option<T> {
    T::deserialize(settled).ok()
}

//! What is wrong with a playbook, each fault with its place.
//!
//! A playbook is cloned by many businesses, so a mistake in it is everybody's. Besides limits, this looks for what an author does not see:
//! a sentence of a caller's that two scenarios claim, a placeholder that nothing defines, a required variable that no reply says.

use std::collections::{HashMap, HashSet};

use super::name::is_word;
use super::{Content, Scenario, Urgency, Variable, is_variable, limits, placeholders};
use crate::shape::Fault;

/// Everything that is wrong, in the order of places.
pub(super) fn faults(about: &str, content: &Content) -> Vec<Fault> {
    let mut check = Check { faults: Vec::new() };
    check.text("/about", about, 0, limits::ABOUT_CHARS);
    check.count("/scenarios", content.scenarios.len(), 1, limits::SCENARIOS);
    check.count("/fillers", content.fillers.len(), 0, limits::WORDS);
    check.count("/urgency", content.urgency.len(), 0, limits::WORDS);
    check.count("/variables", content.variables.len(), 0, limits::VARIABLES);
    for (n, scenario) in content.scenarios.iter().enumerate() {
        check.scenario(&format!("/scenarios/{n}"), scenario);
    }
    check.once("/scenarios", "key", content.scenarios.iter().map(|scenario| scenario.key.clone()));
    check.phrases(content);
    for (n, word) in content.fillers.iter().enumerate() {
        check.text(&format!("/fillers/{n}"), word, 1, limits::WORD_CHARS);
    }
    check.once("/fillers", "", content.fillers.iter().map(|word| spoken(word)));
    for (n, urgency) in content.urgency.iter().enumerate() {
        check.urgency(&format!("/urgency/{n}"), urgency);
    }
    check.once("/urgency", "word", content.urgency.iter().map(|urgency| spoken(&urgency.word)));
    for (n, variable) in content.variables.iter().enumerate() {
        check.variable(&format!("/variables/{n}"), variable);
    }
    check.once("/variables", "name", content.variables.iter().map(|variable| variable.name.clone()));
    check.placeholders(content);
    check.faults
}

/// The same for two phrases that are the same words to an ear.
fn spoken(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

struct Check {
    faults: Vec<Fault>,
}

impl Check {
    fn fault(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::new(at, message));
    }

    fn text(&mut self, at: &str, text: &str, least: usize, most: usize) {
        if !(least..=most).contains(&text.chars().count()) || (least > 0 && text.trim().is_empty()) {
            self.fault(at, format!("must have {least} to {most} characters"));
        } else if text.contains('\0') {
            self.fault(at, "must not hold U+0000");
        }
    }

    fn count(&mut self, at: &str, count: usize, least: usize, most: usize) {
        if !(least..=most).contains(&count) {
            self.fault(at, format!("must have {least} to {most} entries"));
        }
    }

    /// What must not be there twice.
    fn once(&mut self, list: &str, field: &str, names: impl Iterator<Item = String>) {
        let mut seen = HashMap::new();
        for (n, name) in names.enumerate() {
            if let Some(first) = seen.insert(name.clone(), n) {
                let field = if field.is_empty() { String::new() } else { format!("/{field}") };
                self.fault(format!("{list}/{n}{field}"), format!("{name:?} is there already, at {list}/{first}"));
                seen.insert(name, first);
            }
        }
    }

    fn scenario(&mut self, at: &str, scenario: &Scenario) {
        if !is_word(&scenario.key, limits::KEY_CHARS) {
            self.fault(format!("{at}/key"), "must be a letter a-z, then a-z, 0-9 and _, at most 64 of them");
        }
        self.text(&format!("{at}/name"), &scenario.name, 1, limits::NAME_CHARS);
        self.text(&format!("{at}/category"), &scenario.category, 1, limits::CATEGORY_CHARS);
        for (list, texts, count, most) in [
            ("phrases", &scenario.phrases, limits::PHRASES, limits::PHRASE_CHARS),
            ("replies", &scenario.replies, limits::REPLIES, limits::REPLY_CHARS),
        ] {
            self.count(&format!("{at}/{list}"), texts.len(), 1, count);
            for (n, text) in texts.iter().enumerate() {
                self.text(&format!("{at}/{list}/{n}"), text, 1, most);
            }
        }
        self.text(
            &format!("{at}/followUp"),
            scenario.follow_up.as_deref().unwrap_or_default(),
            0,
            limits::FOLLOW_UP_CHARS,
        );
        self.text(
            &format!("{at}/behavior"),
            scenario.behavior.as_deref().unwrap_or_default(),
            0,
            limits::BEHAVIOR_CHARS,
        );
    }

    /// A sentence that two scenarios claim is answered by chance, and one that a scenario has twice says nothing more.
    fn phrases(&mut self, content: &Content) {
        let mut seen: HashMap<String, (usize, usize)> = HashMap::new();
        for (n, scenario) in content.scenarios.iter().enumerate() {
            for (m, phrase) in scenario.phrases.iter().enumerate() {
                let spoken = spoken(phrase);
                if spoken.is_empty() && !phrase.trim().is_empty() {
                    self.fault(format!("/scenarios/{n}/phrases/{m}"), "must have a word");
                } else if let Some((first, nth)) = seen.get(&spoken).filter(|_| !spoken.is_empty()) {
                    let key = content.scenarios.get(*first).map_or("", |scenario| scenario.key.as_str());
                    let what = format!("{phrase:?} is claimed by {key:?} too, at /scenarios/{first}/phrases/{nth}");
                    self.fault(format!("/scenarios/{n}/phrases/{m}"), what);
                } else {
                    seen.insert(spoken, (n, m));
                }
            }
        }
    }

    fn urgency(&mut self, at: &str, urgency: &Urgency) {
        self.text(&format!("{at}/word"), &urgency.word, 1, limits::WORD_CHARS);
        if !(0.0..=1.0).contains(&urgency.weight) || urgency.weight == 0.0 {
            self.fault(format!("{at}/weight"), "must be more than 0 and at most 1");
        }
    }

    fn variable(&mut self, at: &str, variable: &Variable) {
        if !is_variable(&variable.name) {
            self.fault(format!("{at}/name"), "must be a letter, then letters, digits or _, at most 64 of them");
        }
        self.text(&format!("{at}/label"), &variable.label, 0, limits::NAME_CHARS);
        if let Some(default) = &variable.default {
            self.text(&format!("{at}/default"), default, 1, limits::VALUE_CHARS);
            if !variable.kind.admits(default) {
                self.fault(format!("{at}/default"), "is not what the variable's type says");
            }
        }
    }

    fn placeholders(&mut self, content: &Content) {
        let defined: HashSet<&str> = content.variables.iter().map(|variable| variable.name.as_str()).collect();
        let mut said = HashSet::new();
        for (n, scenario) in content.scenarios.iter().enumerate() {
            let replies = scenario.replies.iter().enumerate().map(|(m, reply)| (format!("replies/{m}"), reply));
            for (at, text) in replies.chain(scenario.follow_up.iter().map(|text| ("followUp".to_owned(), text))) {
                for name in placeholders::names(text) {
                    if !defined.contains(name) {
                        let what = format!("{{{name}}} is not defined: add it to the variables");
                        self.fault(format!("/scenarios/{n}/{at}"), what);
                    }
                    said.insert(name);
                }
            }
        }
        for (n, variable) in content.variables.iter().enumerate() {
            if variable.required && !said.contains(variable.name.as_str()) {
                let what = format!("{:?} is required, and no reply says it", variable.name);
                self.fault(format!("/variables/{n}/required"), what);
            }
        }
    }
}

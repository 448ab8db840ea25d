//! The words that a configuration comes to for a language model. The same configuration gives the same words.

use std::fmt::Write as _;

use super::Configuration;
use super::sliders::{MIDDLE, Sliders};

/// So near the middle a slider says nothing.
const SILENT: u8 = 14;
/// So far from it a slider matters more than the others.
const STRONG: u8 = 40;

/// The prompt.
pub fn prompt(of: &Configuration) -> String {
    let mut text = format!("You are {}, and you answer the phone of a business.", of.agent_name);
    let _ = write!(text, " Speak {} unless the caller prefers another language you know", of.language);
    if of.languages.is_empty() {
        text.push('.');
    } else {
        let _ = write!(text, ": {}.", of.languages.join(", "));
    }
    if !of.personality.trim().is_empty() {
        let _ = write!(text, "\n\n{}", of.personality.trim());
    }
    let (strong, mild) = instructions(&of.sliders);
    list(&mut text, "Above all:", &strong);
    list(&mut text, "Your manner:", &mild);
    let _ = write!(text, "\n\nWhen you do not know the answer, say: {}", of.fallback);
    if of.escalation_number.is_some() {
        text.push_str("\nA caller who asks for a person can be connected with one.");
    }
    text
}

/// What the sliders say: that which matters most, and the rest.
fn instructions(sliders: &Sliders) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut strong, mut mild) = (Vec::new(), Vec::new());
    for (slider, at) in sliders.each() {
        let distance = at.abs_diff(MIDDLE);
        if distance > SILENT {
            let line = if at < MIDDLE { slider.low } else { slider.high };
            if distance >= STRONG { strong.push(line) } else { mild.push(line) }
        }
    }
    (strong, mild)
}

fn list(text: &mut String, head: &str, lines: &[&str]) {
    if !lines.is_empty() {
        let _ = write!(text, "\n\n{head}\n- {}", lines.join("\n- "));
    }
}

//! The quick bio: one line about a caller, made of the facts that are there by a rule that is data.
//!
//! A rule is a list of parts, each an expression of `minijinja` over the caller's fields. The parts that come to something are
//! joined by ` | `; a part that comes to nothing leaves no gap, so a rule never has to think about what is missing.
//!
//! An expression has no statements, loops or macros, nothing to load from, fuel, and a limited result. What it can use beyond
//! the language: `count` ("2 Auto"), `gapless` (join what is there), `money` ("$500K"), `capital` ("Buyer").

use minijinja::value::{Rest, Serde, ValueKind};
use minijinja::{Environment, UndefinedBehavior, Value};

const MAX_PARTS: usize = 12;
const MAX_PART_CHARS: usize = 500;
/// Instructions for one part: those that people write take a few dozen.
const FUEL: u64 = 1000;
const MAX_BIO_CHARS: usize = 300;
const BETWEEN: &str = " | ";

/// Why a rule is not taken. For its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bio: {0}")]
pub struct BadRule(String);

/// A quick-bio rule whose parts are known to be expressions.
pub struct Rule {
    parts: Vec<String>,
    environment: Environment<'static>,
}

impl Rule {
    /// Checks the parts.
    pub fn parse(parts: Vec<String>) -> Result<Self, BadRule> {
        if parts.len() > MAX_PARTS || parts.iter().any(|part| part.chars().count() > MAX_PART_CHARS) {
            return Err(BadRule(format!("at most {MAX_PARTS} parts of at most {MAX_PART_CHARS} characters")));
        }
        let environment = environment();
        for part in &parts {
            environment.compile_expression(part).map_err(|error| BadRule(format!("{part:?}: {error}")))?;
        }
        Ok(Self { parts, environment })
    }

    /// The parts as written.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The line about a caller with these fields. A part that fails on them is left out as one that is empty.
    pub fn bio(&self, fields: &serde_json::Value) -> String {
        let context = Value::from(Serde(fields));
        let parts: Vec<String> = self.parts.iter().filter_map(|part| self.part(part, &context)).collect();
        one_line(&parts.join(BETWEEN))
    }

    fn part(&self, part: &str, context: &Value) -> Option<String> {
        let value = self.environment.compile_expression(part).ok()?.eval(context.clone()).ok()?;
        let is_said = matches!(value.kind(), ValueKind::String | ValueKind::Number);
        let text = if is_said { value.to_string().trim().to_owned() } else { String::new() };
        (!text.is_empty()).then_some(text)
    }
}

/// A line for a prompt: no line breaks, and not longer than people read.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.chars().take(MAX_BIO_CHARS).collect::<String>().trim_end().to_owned()
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(16);
    environment.add_function("count", count);
    environment.add_function("gapless", gapless);
    environment.add_filter("money", money);
    environment.add_filter("capital", capital);
    environment
}

/// `count("Auto", policies.auto_1, policies.auto_2)`: "2 Auto", or nothing if none of them is there.
#[expect(clippy::needless_pass_by_value, reason = "minijinja's signature")]
fn count(what: String, things: Rest<Value>) -> String {
    match things.iter().filter(|thing| is_there(thing)).count() {
        0 => String::new(),
        there => format!("{there} {what}"),
    }
}

/// `gapless(" + ", …)`: what is there of the rest, joined by the first.
#[expect(clippy::needless_pass_by_value, reason = "minijinja's signature")]
fn gapless(between: String, things: Rest<Value>) -> String {
    let there: Vec<String> = things.iter().filter(|thing| is_there(thing)).map(ToString::to_string).collect();
    there.join(&between)
}

fn is_there(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Number => true,
        _ => value.is_true(),
    }
}

/// 500000 as `$500K`; a text as it is. Another currency: `money("€")`.
#[expect(clippy::needless_pass_by_value, reason = "minijinja's signature")]
fn money(amount: Value, sign: Option<String>) -> String {
    let sign = sign.unwrap_or_else(|| "$".to_owned());
    match (amount.kind(), f64::try_from(amount.clone())) {
        (ValueKind::Number, Ok(number)) => format!("{sign}{}", short(number)),
        (ValueKind::String, _) => amount.to_string(),
        _ => String::new(),
    }
}

/// A number with a K or M where that loses nothing of its first three digits.
fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        n if n >= 999_500.0 => (number / 1e6, "M"),
        n if n >= 1000.0 => (number / 1e3, "K"),
        _ => (number, ""),
    };
    let rounded = (scaled * 100.0).round() / 100.0;
    format!("{rounded}{unit}")
}

/// The first letter as a capital.
#[expect(clippy::needless_pass_by_value, reason = "minijinja's signature")]
fn capital(value: Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bio(part: &str, fields: &serde_json::Value) -> String {
        Rule::parse(vec![part.to_owned()]).unwrap().bio(fields)
    }

    #[test]
    fn absent_facts_leave_no_gap() {
        let rule = [
            "name",
            "a.b.c",
            r#""since " ~ since if since"#,
            r#"gapless(" + ", count("cat", cat_1, cat_2), count("dog", dog))"#,
        ];
        let rule = Rule::parse(rule.map(str::to_owned).into()).unwrap();
        assert_eq!(rule.bio(&json!({})), "");
        assert_eq!(rule.bio(&json!({ "name": "Jo" })), "Jo");
        assert_eq!(rule.bio(&json!({ "since": 2020, "dog": { "age": 2 } })), "since 2020 | 1 dog");
        assert_eq!(
            rule.bio(&json!({ "name": " Jo\n", "cat_1": { "x": 1 }, "cat_2": {}, "dog": { "x": 1 } })),
            "Jo | 1 cat + 1 dog",
            "an empty object is not there"
        );
    }

    #[test]
    fn amounts_are_short() {
        for (amount, text) in [
            (json!(500_000), "$500K"),
            (json!(1_250_000), "$1.25M"),
            (json!(999_999), "$1M"),
            (json!(750), "$750"),
            (json!(1500.0), "$1.5K"),
            (json!("about half a million"), "about half a million"),
        ] {
            assert_eq!(bio("x|money", &json!({ "x": amount })), text);
        }
        assert_eq!(bio("x|money('€')", &json!({ "x": 2000 })), "€2K");
        assert_eq!(bio("x|money", &json!({})), "");
    }

    #[test]
    fn a_rule_cannot_run_away() {
        assert!(Rule::parse(vec!["name".into(); MAX_PARTS + 1]).is_err());
        assert!(Rule::parse(vec!["x".repeat(MAX_PART_CHARS + 1)]).is_err());
        for broken in ["{% for x in y %}", "name |", "include('/etc/passwd'", "(".repeat(400).as_str()] {
            assert!(Rule::parse(vec![broken.to_owned()]).is_err(), "{broken}");
        }
        let long = json!({ "name": "x".repeat(60_000) });
        for hungry in
            ["name * 1000000", "range(1000000)", "(name * 9) ~ (name * 9)", "include('/etc/passwd')", "self.x.y"]
        {
            assert!(bio(hungry, &long).chars().count() <= MAX_BIO_CHARS, "{hungry}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_gives_a_line(part in "[a-z(){}|~\\[\\]\"' .0-9%*+if]{0,40}", name in "\\PC{0,20}") {
            if let Ok(rule) = Rule::parse(vec![part]) {
                let line = rule.bio(&json!({ "a": name, "b": { "c": 1 } }));
                prop_assert!(line.chars().count() <= MAX_BIO_CHARS && !line.chars().any(char::is_control));
            }
        }
    }
}

//! What is named in a conversation: people's names, phone numbers, addresses, amounts, dates and times.
//!
//! Small parsers over words, each strict: what it is not sure of is left out. Dates stay as they were said ("03/04" is two days in
//! two countries, and "tomorrow" depends on the day of the call); times become `HH:MM`, amounts a currency and a decimal, phone
//! numbers E.164. A name counts when the caller says "my name is …"; the rest counts whoever says it: people confirm things.

mod when;

use serde::Serialize;

use self::when::{date, time};
use super::{Speaker, Turn};
use crate::id::Region;
use crate::phone::PhoneNumber;

/// At most so many of each kind.
const MOST: usize = 20;

/// What was named, in the order it was first said. What nobody named is left out on the wire.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Variables {
    /// What the caller called themselves, the last time they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In E.164.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phone_numbers: Vec<String>,
    /// In lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
    /// Sums of money.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amounts: Vec<Amount>,
    /// As they were said, in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<String>,
    /// `HH:MM`, 24 hours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<String>,
}

/// A sum of money.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// ISO 4217; a bare `$` is taken for USD.
    pub currency: &'static str,
    /// A decimal with a point.
    pub value: String,
}

/// Finds what was named.
pub(super) fn find(turns: &[Turn<'_>], region: Region) -> Variables {
    let mut found = Variables::default();
    for turn in turns {
        let words: Vec<&str> = turn.text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
        if turn.speaker == Speaker::Caller {
            found.name = name(turn.text).or(found.name);
        }
        let mut at = 0;
        while at < words.len() {
            at += found.take(&words[at..], region);
        }
    }
    found
}

impl Variables {
    /// Notes what begins here, and says how many words it was.
    fn take(&mut self, words: &[&str], region: Region) -> usize {
        if let Some(email) = email(words[0]) {
            note(&mut self.emails, email);
        } else if let Some((amount, length)) = amount(words) {
            note(&mut self.amounts, amount);
            return length;
        } else if let Some((time, length)) = time(words) {
            note(&mut self.times, time);
            return length;
        } else if let Some((date, length)) = date(words) {
            note(&mut self.dates, date);
            return length;
        } else if let Some((number, length)) = phone(words, region) {
            note(&mut self.phone_numbers, number);
            return length;
        }
        1
    }
}

fn note<T: PartialEq>(into: &mut Vec<T>, new: T) {
    if into.len() < MOST && !into.contains(&new) {
        into.push(new);
    }
}

/// A word without the marks around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| {
        matches!(c, ',' | ';' | ':' | '!' | '?' | '"' | '“' | '”' | '<' | '>' | '[' | ']' | '*')
    })
    .trim_end_matches('.')
}

/// What follows "my name is", "this is … speaking" or "name's": one to three words with a capital.
fn name(text: &str) -> Option<String> {
    const BEFORE: [&str; 4] = ["my name is ", "my name's ", "my name’s ", "the name is "];
    // Folded byte for byte: what is found in it stands at the same place in the text.
    let folded = text.to_ascii_lowercase();
    let after = BEFORE.iter().filter_map(|before| folded.rfind(before).map(|at| at + before.len())).max()?;
    let mut parts = Vec::new();
    for word in text[after..].split_whitespace().take(3) {
        let part = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        let fits = part.chars().count() <= 40
            && part.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '’' | '.'));
        if !part.starts_with(char::is_uppercase) || !fits {
            break;
        }
        parts.push(part);
        if part.len() < word.len() {
            break;
        }
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn email(word: &str) -> Option<String> {
    let (local, domain) = word.split_once('@')?;
    let is_local = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    let is_label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let last = domain.rsplit('.').next()?;
    let fits = (1..=64).contains(&local.len()) && local.chars().all(is_local) && !local.starts_with('.');
    let domain_fits = domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label);
    let has_tld = last.len() >= 2 && last.chars().all(|c| c.is_ascii_alphabetic());
    (fits && domain_fits && has_tld).then(|| word.to_ascii_lowercase())
}

const SIGNS: [(&str, &str); 8] = [
    ("US$", "USD"),
    ("CA$", "CAD"),
    ("A$", "AUD"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("₹", "INR"),
    ("KSh", "KES"),
];
const CURRENCIES: [(&str, &str); 12] = [
    ("dollars", "USD"),
    ("dollar", "USD"),
    ("bucks", "USD"),
    ("usd", "USD"),
    ("euros", "EUR"),
    ("euro", "EUR"),
    ("eur", "EUR"),
    ("€", "EUR"),
    ("pounds", "GBP"),
    ("gbp", "GBP"),
    ("cad", "CAD"),
    ("kes", "KES"),
];

fn amount(words: &[&str]) -> Option<(Amount, usize)> {
    if let Some((rest, currency)) = SIGNS.iter().find_map(|(sign, code)| Some((words[0].strip_prefix(sign)?, *code))) {
        return Some((Amount { currency, value: decimal(rest)? }, 1));
    }
    let value = decimal(words[0])?;
    let unit = words.get(1)?.to_lowercase();
    let currency = CURRENCIES.iter().find(|(name, _)| *name == unit)?.1;
    Some((Amount { currency, value }, 2))
}

/// `1200`, `1,200` or `1,200.50`, and with `k` thousands.
fn decimal(text: &str) -> Option<String> {
    let (text, thousands) = text.strip_suffix(['k', 'K']).map_or((text, false), |rest| (rest, true));
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let grouped =
        rest.is_empty() || (first.len() <= 3 && rest.iter().all(|group| group.len() == 3 && is_number(group)));
    let fraction_fits = fraction.is_none_or(|f| (1..=2).contains(&f.len()) && is_number(f) && !thousands);
    if !is_number(first) || !grouped || !fraction_fits || whole.len() > 15 {
        return None;
    }
    let whole = whole.replace(',', "") + if thousands { "000" } else { "" };
    Some(fraction.map_or(whole.clone(), |fraction| format!("{whole}.{fraction}")))
}

/// Ten digits or more, or a `+` and seven or more, over any number of words.
fn phone(words: &[&str], region: Region) -> Option<(String, usize)> {
    let is_part = |word: &str| {
        word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || b"+-.()/".contains(&b))
    };
    let length = words.iter().take(6).take_while(|word| is_part(word)).count();
    (1..=length).rev().find_map(|length| {
        let text = words[..length].concat();
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let least = if text.starts_with('+') { 7 } else { 10 };
        let number = (least..=15).contains(&digits).then(|| PhoneNumber::parse(&text, region).ok())??;
        Some((number.to_string(), length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Variables {
        find(&[Turn { speaker: Speaker::Caller, text }], "US".parse().unwrap())
    }

    #[test]
    fn all_of_it_in_one_breath() {
        let said = "Hi, my name is Mary-Ann O'Neil, call (555) 123-4567 or mail Mary@Example.com. $1,200.50 on November 23rd at 9:30 pm.";
        let expected = Variables {
            name: Some("Mary-Ann O'Neil".into()),
            phone_numbers: vec!["+15551234567".into()],
            emails: vec!["mary@example.com".into()],
            amounts: vec![Amount { currency: "USD", value: "1200.50".into() }],
            dates: vec!["november 23".into()],
            times: vec!["21:30".into()],
        };
        assert_eq!(found(said), expected);
    }

    #[test]
    fn times_and_what_is_none() {
        let cases = [
            ("9am", "09:00"),
            ("12 a.m.", "00:00"),
            ("12pm", "12:00"),
            ("14:30", "14:30"),
            ("noon", "12:00"),
            ("5 o'clock", "05:00"),
            ("11:59 PM.", "23:59"),
        ];
        for (said, time) in cases {
            assert_eq!(found(said).times, [time], "{said}");
        }
        for said in ["13pm", "0 am", "25:00", "9:5", "9", "am", "10:60", "1:2:3"] {
            assert!(found(said).times.is_empty(), "{said}");
        }
    }

    #[test]
    fn dates_and_what_is_none() {
        let cases = [
            ("2026-11-23", "2026-11-23"),
            ("on 23/11/2026.", "23/11/2026"),
            ("next Tuesday", "next tuesday"),
            ("Tomorrow!", "tomorrow"),
            ("the 3rd of March, 2027", "march 3 2027"),
            ("3 march", "march 3"),
        ];
        for (said, date) in cases {
            assert_eq!(found(said).dates, [date], "{said}");
        }
        for said in ["2026-13-01", "32/32/2026", "March 32", "may I", "24/7", "0/0/2026"] {
            assert!(found(said).dates.is_empty(), "{said}");
        }
    }

    #[test]
    fn amounts_and_what_is_none() {
        for (said, currency, value) in [
            ("€50", "EUR", "50"),
            ("200 dollars", "USD", "200"),
            ("$500k", "USD", "500000"),
            ("£1,000,000", "GBP", "1000000"),
        ] {
            assert_eq!(found(said).amounts, [Amount { currency, value: value.into() }], "{said}");
        }
        for said in ["$", "$1,00", "$1.234", "$x", "200", "two dollars", "$1.5k"] {
            assert!(found(said).amounts.is_empty(), "{said}");
        }
    }

    #[test]
    fn numbers_and_addresses_and_what_is_none() {
        assert_eq!(found("+44 20 7946 0958").phone_numbers, ["+442079460958"]);
        assert_eq!(found("555 123 4567, 555-123-4567").phone_numbers, ["+15551234567"], "once");
        for said in ["12345", "555-0100", "1234567890123456", "call-me-555"] {
            assert!(found(said).phone_numbers.is_empty(), "{said}");
        }
        for said in ["a@b", "@x.com", "a@.com", "a@b.c", "a@b@c.com", "a@b.c0m", ".a@b.com"] {
            assert!(found(said).emails.is_empty(), "{said}");
        }
    }

    #[test]
    fn a_name_is_what_the_caller_says_it_is() {
        assert_eq!(found("MY NAME IS Ünal.").name.as_deref(), Some("Ünal"));
        assert_eq!(found("Sorry, my name's Bo, my name is Bob Lee and I").name.as_deref(), Some("Bob Lee"));
        for said in ["my name is", "my name is not important", "name is Bob", "My name is 007"] {
            assert_eq!(found(said).name, None, "{said}");
        }
        let other = [Turn { speaker: Speaker::Receptionist, text: "My name is Clara" }];
        assert_eq!(find(&other, "US".parse().unwrap()).name, None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_every_number_found_is_one(text in "(\\PC|[0-9 +():/.$@-]){0,80}") {
            let found = found(&text);
            for number in &found.phone_numbers {
                number.parse::<PhoneNumber>().unwrap();
            }
            prop_assert!(found.times.iter().all(|time| time.len() == 5));
        }

        #[test]
        fn every_time_of_day_is_read_back(hour in 0u8..24, minute in 0u8..60) {
            prop_assert_eq!(found(&format!("{hour}:{minute:02}")).times, [format!("{hour:02}:{minute:02}")]);
        }
    }
}

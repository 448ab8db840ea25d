//! `/api/company/{companyId}`: what a business's receptionist knows and how it is set up.
//!
//! Every input here is wrapped in [`OfCompany`](super::extract::OfCompany), which holds the id in the path to the token's.

pub(super) mod configuration;
pub(super) mod knowledge;
pub(super) mod scenarios;
pub(super) mod sync;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::Problem;

/// A thing of the company's, by the id that ends the path.
#[derive(Deserialize)]
pub(super) struct Item {
    id: Uuid,
}

/// Which part of a list.
#[derive(Deserialize)]
pub(super) struct Part {
    limit: Option<i64>,
    /// The last id of the part before.
    cursor: Option<Uuid>,
}

impl Part {
    fn limit(&self) -> Result<i64, Problem> {
        let limit = self.limit.unwrap_or(500);
        if (1..=500).contains(&limit) { Ok(limit) } else { Err(Problem::invalid("limit: 1 to 500.")) }
    }
}

/// The cursor of the next part: a full part may have one.
fn next<T>(found: &[T], limit: i64, id: impl Fn(&T) -> Uuid) -> Option<Uuid> {
    found.last().filter(|_| i64::try_from(found.len()).is_ok_and(|n| n >= limit)).map(id)
}

/// Collects what is wrong with a body, so that an answer names every field.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// A text of `least` to `most` characters.
    fn text(&mut self, name: &str, text: &str, least: usize, most: usize) {
        if !(least..=most).contains(&text.chars().count()) || (least > 0 && text.trim().is_empty()) {
            self.0.push(format!("{name}: {least} to {most} characters."));
        }
    }

    /// A list of such texts.
    fn texts(&mut self, name: &str, texts: &[String], count: std::ops::RangeInclusive<usize>, most: usize) {
        if !count.contains(&texts.len()) {
            self.0.push(format!("{name}: {} to {} of them.", count.start(), count.end()));
        }
        for (n, text) in texts.iter().enumerate() {
            self.text(&format!("{name}[{n}]"), text, 1, most);
        }
    }

    fn fault(&mut self, fault: String) {
        self.0.push(fault);
    }

    fn none_or_refuse(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0.join(" "))) }
    }
}

/// A part of a list, as it is answered.
#[derive(Serialize)]
struct Listed<T> {
    #[serde(rename = "companyId")]
    company: crate::id::TenantId,
    #[serde(flatten)]
    of: T,
    #[serde(rename = "nextCursor")]
    next: Option<Uuid>,
}

//! What is wrong with a document, in words that name the place and the rule and quote nothing of the document.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use boon::{ErrorKind, InstanceToken, ValidationError};

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901). Empty: the whole.
    pub pointer: String,
    /// What: "is required", "must be an integer".
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.message)
    }
}

/// The leaves of the validator's tree of errors.
pub(super) fn of(error: &ValidationError<'_, '_>) -> Vec<Fault> {
    let mut all = BTreeSet::new();
    collect(error, &mut all);
    all.into_iter().collect()
}

fn collect(error: &ValidationError<'_, '_>, into: &mut BTreeSet<Fault>) {
    let mut at = String::new();
    for token in &error.instance_location.tokens {
        match token {
            InstanceToken::Prop(name) => push(&mut at, name),
            InstanceToken::Item(index) => push(&mut at, &index.to_string()),
        }
    }
    let mut each = |names: &mut dyn Iterator<Item = &str>, message: &str| {
        for name in names {
            let mut place = at.clone();
            push(&mut place, name);
            into.insert(Fault::new(place, message));
        }
    };
    match &error.kind {
        ErrorKind::Required { want } => each(&mut want.iter().copied(), "is required"),
        ErrorKind::DependentRequired { missing, .. } | ErrorKind::Dependency { missing, .. } => {
            each(&mut missing.iter().copied(), "is required beside what is there");
        }
        ErrorKind::AdditionalProperties { got } => {
            each(&mut got.iter().map(AsRef::as_ref), "is not a field of this document");
        }
        // What is inside says more. Of alternatives, each would say something else: the choice itself is the fault.
        ErrorKind::AnyOf | ErrorKind::OneOf(_) => {
            into.insert(Fault::new(at, "fits none of the alternatives, or too many"));
        }
        _ if !error.causes.is_empty() => error.causes.iter().for_each(|cause| collect(cause, into)),
        kind => {
            into.insert(Fault::new(at, message(kind)));
        }
    }
}

fn push(pointer: &mut String, token: &str) {
    let _ = write!(pointer, "/{}", token.replace('~', "~0").replace('/', "~1"));
}

/// The rule. Only what the schema says is quoted.
fn message(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Type { want, .. } => {
            let names: Vec<String> = want.iter().map(|one| one.to_string()).collect();
            format!("must be of type {}", names.join(" or "))
        }
        ErrorKind::Enum { want } => {
            let values: Vec<String> = want.iter().map(ToString::to_string).collect();
            format!("must be one of {}", values.join(", "))
        }
        ErrorKind::Const { want } => format!("must be {want}"),
        ErrorKind::Format { want, .. } => format!("must have the format {want}"),
        ErrorKind::Pattern { want, .. } => format!("must match {want}"),
        ErrorKind::MinLength { want, .. } => format!("must have at least {want} characters"),
        ErrorKind::MaxLength { want, .. } => format!("must have at most {want} characters"),
        ErrorKind::MinItems { want, .. } => format!("must have at least {want} entries"),
        ErrorKind::MaxItems { want, .. } => format!("must have at most {want} entries"),
        ErrorKind::MinProperties { want, .. } => format!("must have at least {want} fields"),
        ErrorKind::MaxProperties { want, .. } => format!("must have at most {want} fields"),
        ErrorKind::Minimum { want, .. } => format!("must be at least {want}"),
        ErrorKind::Maximum { want, .. } => format!("must be at most {want}"),
        ErrorKind::ExclusiveMinimum { want, .. } => format!("must be more than {want}"),
        ErrorKind::ExclusiveMaximum { want, .. } => format!("must be less than {want}"),
        ErrorKind::MultipleOf { want, .. } => format!("must be a multiple of {want}"),
        ErrorKind::UniqueItems { .. } => "must not hold an entry twice".to_owned(),
        ErrorKind::FalseSchema => "must not be there".to_owned(),
        _ => "does not fit".to_owned(),
    }
}

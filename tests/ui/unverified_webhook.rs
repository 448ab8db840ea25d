//! E0308: A webhook whose signature was not checked is nobody's.
fn principal(request: strowger::auth::webhook::Unverified<'_>, number: &strowger::control::numbers::NumberRow) {
    let _ = strowger::auth::Principal::from_call(&request, number);
}
fn main() {}

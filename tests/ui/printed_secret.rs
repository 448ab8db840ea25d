//! E0277: Secrets are not printed.
fn main() {
    println!("{:?}", strowger::vault::Secret::random_password());
}

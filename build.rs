//! Rebuilds when a migration file appears: `embed_migrations!` reads the folder but cannot say so to cargo.
fn main() {
    println!("cargo::rerun-if-changed=tenant-migrations");
}

//! The bench kit: `ops/bench/run`. Each bench starts private Postgres clusters of its own, with fsync on, lets its contenders take turns
//! in one run, and prints medians with their spread and ratios. One program, so that there is one to build.
#![expect(clippy::unwrap_used, reason = "a bench that fails panics")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod backup;
mod fleet;
mod http;
mod moving;
mod onboard;
#[path = "../../tests/it/support/page.rs"]
mod page;
mod provision;
mod router;
mod selector;
mod support;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = args.iter().map(String::as_str).collect();
    match given[..] {
        ["p1" | "p4", ..] => runtime.block_on(router::run()),
        ["p2", ..] => runtime.block_on(http::run()),
        ["p5", ..] => runtime.block_on(provision::run()),
        ["p6", ..] => runtime.block_on(fleet::run()),
        ["p7", ..] => selector::run(),
        ["p9", ..] => runtime.block_on(backup::run()),
        ["p10", ..] => runtime.block_on(moving::run()),
        ["onboard", ..] => runtime.block_on(onboard::run()),
        // The kit starts itself for this.
        ["serve", kind, url, connections] => {
            runtime.block_on(http::serve(kind, url, connections.parse().unwrap()));
        }
        _ => println!("one of p1, p2, p4, p5, p6, p7, p9, p10 and onboard: ops/bench/README.md"),
    }
}

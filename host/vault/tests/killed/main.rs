//! Processes are killed at any moment, again and again: what they had committed is there, nothing is damaged, and the next one works without anybody's help.
//!
//! The tests and the processes that they kill are one program, so there is no harness: a word as the first argument makes it one that is killed.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod keeper;
mod process;
#[expect(dead_code, unused_imports, reason = "made for all tests of the vault; this one needs a part of it")]
#[path = "../vault/support.rs"]
mod support;
mod worker;

use keeper::KEEPER;
use worker::{LOCKSMITH, WRITER};

/// The tests' names, for those who ask for a list or for one of them.
const COMMITTED: &str = "what_was_committed_survives_any_kill";
const KEPT: &str = "what_is_kept_survives_any_kill_of_a_prune";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_for = |option: &str| arguments.iter().any(|argument| argument == option);
    // As the harness of other tests has it: any words that are no options choose by name.
    let is_chosen = |name: &str| {
        let mut words = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        words.peek().is_none() || words.any(|word| name.contains(&word[..]))
    };
    match &arguments[..] {
        [word, folder, first] if word == WRITER => worker::write_until_killed(folder.as_ref(), first.parse().unwrap()).await,
        [word, folder, key] if word == LOCKSMITH => worker::change_keys_until_killed(folder.as_ref(), key.parse().unwrap()).await,
        [word, folder, first] if word == KEEPER => keeper::keep_house_until_killed(folder.as_ref(), first.parse().unwrap()).await,
        _ if asks_for("--ignored") => {}
        _ if asks_for("--list") => [COMMITTED, KEPT].iter().for_each(|name| println!("{name}: test")),
        _ => {
            if is_chosen(COMMITTED) {
                worker::what_was_committed_survives_any_kill().await;
                println!("test {COMMITTED} ... ok");
            }
            if is_chosen(KEPT) {
                keeper::what_is_kept_survives_any_kill_of_a_prune().await;
                println!("test {KEPT} ... ok");
            }
        }
    }
}

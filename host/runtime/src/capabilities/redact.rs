//! Secrets that a plugin has seen are blotted out of what it says.
//!
//! A protocol that needs a secret in clear is one careless `format!` away from putting it into a log or an error, which are kept for years and read by
//! many. So the host remembers what it has revealed to an operation and replaces it, by `[secret NAME]`, in all text that comes back: log records,
//! standard output, errors, findings, facts, progress. This is for accidents: a plugin that means to tell a secret can encode it.

use std::sync::{PoisonError, RwLock};

use bulkhead_model::{Fact, Fault, Finding, Proof, Timestamp};
use zeroize::Zeroizing;

use crate::SecretBytes;
use crate::sink::{Object, ObjectPage, SinkTraits};
use crate::source::{BackupOutcome, Item, RestoreOutcome};

/// Shortest text that is blotted, in bytes: anything shorter is found in every second word.
const SHORTEST: usize = 4;
/// Shortest line of a secret of several lines that is blotted by itself: standard output comes a line at a time.
const SHORTEST_LINE: usize = 16;
/// Length of a text above which it may have been cut in the middle of a secret; messages are cut at 4 KiB and more.
const MAYBE_CUT: usize = 4000;

/// What an operation's instances were told in clear.
#[derive(Debug, Default)]
pub(crate) struct Redactor(RwLock<Vec<Revealed>>);

struct Revealed {
    text: Zeroizing<String>,
    blot: String,
}

impl std::fmt::Debug for Revealed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.blot)
    }
}

impl Redactor {
    /// From now on the secret is blotted.
    pub(crate) fn remember(&self, name: &str, secret: &SecretBytes) {
        let whole = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
        let whole = whole.trim();
        let lines = whole.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        let mut revealed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for text in std::iter::once(whole).chain(lines) {
            if text.len() >= SHORTEST && !revealed.iter().any(|known| *known.text == text) {
                revealed.push(Revealed {
                    text: Zeroizing::new(text.to_owned()),
                    blot: format!("[secret {name}]"),
                });
            }
        }
        // A secret that contains another one is blotted whole.
        revealed.sort_by_key(|known| std::cmp::Reverse(known.text.len()));
    }

    /// Blots what was revealed.
    pub(crate) fn blot(&self, text: &mut String) {
        for Revealed { text: secret, blot } in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), blot);
            }
            if text.len() >= MAYBE_CUT
                && let Some(kept) = without_beginning_of(text, secret)
            {
                text.truncate(kept);
                text.push_str(blot);
            }
        }
    }
}

/// Where the end of `text` is the beginning of `secret`, the length of what is before.
fn without_beginning_of(text: &str, secret: &str) -> Option<usize> {
    let beginnings = (SHORTEST..secret.len()).rev().filter(|end| secret.is_char_boundary(*end));
    let found = beginnings.map(|end| &secret[..end]).find(|beginning| text.ends_with(beginning));
    found.map(|beginning| text.len() - beginning.len())
}

/// What a plugin returns, with the text in it.
pub(crate) trait Redact {
    /// Blots what was revealed.
    fn redact(&mut self, redactor: &Redactor);
}

/// Without text that a plugin composes: the words of the ABI, names that are looked up again, and content.
macro_rules! nothing_to_blot {
    ($($kind:ty),+) => { $(impl Redact for $kind { fn redact(&mut self, _redactor: &Redactor) {} })+ };
}

nothing_to_blot!((), Vec<u8>, Timestamp, SinkTraits, Object, ObjectPage, Result<crate::Description, String>);

impl Redact for String {
    fn redact(&mut self, redactor: &Redactor) {
        redactor.blot(self);
    }
}

impl<T: Redact> Redact for Option<T> {
    fn redact(&mut self, redactor: &Redactor) {
        self.iter_mut().for_each(|value| value.redact(redactor));
    }
}

macro_rules! blots_in {
    ($($kind:ty: $($field:ident),+;)+) => {
        $(impl Redact for $kind {
            fn redact(&mut self, redactor: &Redactor) {
                $(self.$field.redact(redactor);)+
            }
        })+
    };
}

blots_in! {
    Fault: message, hint, setting, causes;
    Finding: code, message, hint, setting;
    Fact: name, value;
    Proof: facts;
    BackupOutcome: proof, findings;
    RestoreOutcome: facts, findings;
    Item: facts;
}

/// Not of every `Vec`: bytes are content.
macro_rules! blots_in_lists {
    ($($kind:ty),+) => {
        $(impl Redact for Vec<$kind> {
            fn redact(&mut self, redactor: &Redactor) {
                self.iter_mut().for_each(|value| value.redact(redactor));
            }
        })+
    };
}

blots_in_lists!(String, Fact, Finding, Item);

#[cfg(test)]
mod tests {
    use bulkhead_model::FaultKind;

    use super::*;

    fn blotted(secrets: &[(&str, &str)], text: &str) -> String {
        let redactor = Redactor::default();
        for (name, secret) in secrets {
            redactor.remember(name, &SecretBytes::new(secret.as_bytes().to_vec()));
        }
        let mut text = text.to_owned();
        redactor.blot(&mut text);
        text
    }

    #[test]
    fn what_was_revealed_is_blotted_wherever_it_stands() {
        let secrets = [("password", "hunter22"), ("other", "hunter22-and-more")];
        assert_eq!(
            blotted(&secrets, "hunter22, ahunter22b, hunter22-and-more"),
            "[secret password], a[secret password]b, [secret other]"
        );
        assert_eq!(blotted(&[("pin", "123")], "1234"), "1234", "too short to tell from other text");
    }

    #[test]
    fn each_line_of_a_key_is_blotted() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nshort\n-----END KEY-----\n";
        assert_eq!(blotted(&[("key", key)], "it is MIIEvQIBADANBgkqhkiG!"), "it is [secret key]!");
        assert_eq!(blotted(&[("key", key)], "short of money"), "short of money");
    }

    #[test]
    fn a_secret_that_was_cut_is_blotted_as_well() {
        let long = format!("{}hunt", "x".repeat(MAYBE_CUT));
        assert!(blotted(&[("password", "hunter22")], &long).ends_with("x[secret password]"));
        assert_eq!(blotted(&[("password", "hunter22")], "a hunt"), "a hunt");
    }

    #[test]
    fn every_part_of_a_fault_is_looked_at() {
        let redactor = Redactor::default();
        redactor.remember("password", &SecretBytes::new(b"hunter22".to_vec()));
        let mut fault = Fault::new(FaultKind::Server, "hunter22").hint("hunter22");
        fault.setting = Some("hunter22".to_owned());
        fault.causes.push("hunter22".to_owned());
        fault.redact(&redactor);
        assert!(!format!("{fault:?}{redactor:?}").contains("hunter22"));
    }
}

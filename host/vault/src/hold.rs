//! Holds: who wants a snapshot to stay, since when and why. Each is a tag of the snapshot, so that it is encrypted, stored and replicated with it, copied with
//! it into other vaults, shown by restic, and never apart from what it holds. A snapshot whose tags change gets another name: whoever planned to forget the
//! one that nobody held doesn't find it.
//!
//! ```text
//! held                                            for restic: `forget --keep-tag held`
//! hold:Jane Doe:litigation 4711:2026-11-22T20:30:00Z
//! was-held:Jane Doe:litigation 4711:2026-11-22T20:30:00Z      once it was released
//! released:John Doe:settled:2027-01-31T08:00:00Z              by whom, and why
//! ```
//!
//! restic splits what it is given as tags at commas, and these are split at colons: in names and reasons both, and `%`, are written as `%2C`, `%3A` and `%25`.

use bulkhead_model::Timestamp;

use crate::{error::MaintenanceError, format::time, id::ObjectId};

/// The tag on every snapshot that somebody holds.
const HELD_TAG: &str = "held";
const HOLD: &str = "hold:";
const WAS_HELD: &str = "was-held:";
const RELEASED: &str = "released:";
/// Bytes of a name or a reason, at most: snapshot files are read whenever snapshots are listed.
const MAX_TEXT: usize = 1024;
/// What is written otherwise, and how.
const ESCAPES: [(&str, &str); 3] = [("%", "%25"), (",", "%2C"), (":", "%3A")];

/// Who wants a snapshot to stay (or wants that no more), why, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who says so.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Since when; stored in whole seconds.
    pub since: Timestamp,
}

impl Hold {
    /// What it is called, to tell it from others of the same snapshot: eight hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = ObjectId::of(self.written().as_bytes()).to_string();
        digest.chars().take(8).collect()
    }

    /// Fails where the name or the reason is empty, too long, or has control characters.
    ///
    /// # Errors
    /// [`MaintenanceError::MalformedHold`].
    pub(crate) fn check(&self) -> Result<(), MaintenanceError> {
        let is_bad = |text: &String| text.trim().is_empty() || text.len() > MAX_TEXT || text.contains(char::is_control);
        match [&self.name, &self.reason].into_iter().find(|text| is_bad(text)) {
            Some(text) => Err(MaintenanceError::MalformedHold(text.chars().take(40).collect())),
            None => Ok(()),
        }
    }

    /// What follows the kind of tag.
    fn written(&self) -> String {
        let since = Timestamp {
            nanoseconds: 0,
            ..self.since
        };
        format!("{}:{}:{}", escaped(&self.name), escaped(&self.reason), time::format(since))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (name, reason, since) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            name: unescaped(name),
            reason: unescaped(reason),
            since: time::parse(since).ok()?,
        })
    }
}

fn escaped(text: &str) -> String {
    ESCAPES
        .iter()
        .fold(text.trim().to_owned(), |text, (from, to)| text.replace(from, to))
}

fn unescaped(text: &str) -> String {
    ESCAPES
        .iter()
        .rev()
        .fold(text.to_owned(), |text, (from, to)| text.replace(to, from))
}

/// Whether a tag is about holds: only holding and releasing change it.
pub(crate) fn is_about_holds(tag: &str) -> bool {
    tag == HELD_TAG || [HOLD, WAS_HELD, RELEASED].iter().any(|kind| tag.starts_with(kind))
}

/// Whether somebody holds a snapshot with these tags, be it in words that this program doesn't understand.
pub(crate) fn is_held(tags: &[String]) -> bool {
    tags.iter().any(|tag| tag == HELD_TAG || tag.starts_with(HOLD))
}

/// The holds in these tags.
pub(crate) fn holds(tags: &[String]) -> Vec<Hold> {
    tags.iter().filter_map(|tag| Hold::read(tag.strip_prefix(HOLD)?)).collect()
}

/// These tags with one more hold.
pub(crate) fn hold(before: &[String], hold: &Hold) -> Vec<String> {
    let mut tags = before.to_vec();
    if !tags.iter().any(|tag| tag == HELD_TAG) {
        tags.push(HELD_TAG.to_owned());
    }
    let written = format!("{HOLD}{}", hold.written());
    if !tags.contains(&written) {
        tags.push(written);
    }
    tags
}

/// These tags without the hold whose id begins with `id`, or the only one; `by` says who releases it and why.
///
/// # Errors
/// [`MaintenanceError::NotHeld`], [`MaintenanceError::SeveralHolds`].
pub(crate) fn release(before: &[String], id: Option<&str>, by: &Hold) -> Result<Vec<String>, MaintenanceError> {
    let is_meant = |hold: &Hold| id.is_none_or(|id| hold.id().starts_with(id));
    let meant: Vec<Hold> = holds(before).into_iter().filter(is_meant).collect();
    let tag = match &meant[..] {
        [one] => format!("{HOLD}{}", one.written()),
        // Held by restic's own means only.
        [] if id.is_none() && before.iter().any(|tag| tag == HELD_TAG) => HELD_TAG.to_owned(),
        [] => return Err(MaintenanceError::NotHeld),
        several => return Err(MaintenanceError::SeveralHolds(several.iter().map(Hold::id).collect())),
    };
    let was = |held: &String| match held.strip_prefix(HOLD) {
        Some(hold) if *held == tag => format!("{WAS_HELD}{hold}"),
        _ => held.clone(),
    };
    let mut tags: Vec<String> = before.iter().map(was).collect();
    if !tags.iter().any(|tag| tag.starts_with(HOLD)) {
        tags.retain(|tag| tag != HELD_TAG);
    }
    tags.push(format!("{RELEASED}{}", by.written()));
    Ok(tags)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(name: &str, reason: &str, seconds: i64) -> Hold {
        Hold {
            name: name.to_owned(),
            reason: reason.to_owned(),
            since: Timestamp { seconds, nanoseconds: 0 },
        }
    }

    #[test]
    fn a_hold_is_read_as_it_was_written() {
        for (name, reason) in [("Jane Doe", "litigation 4711"), ("a:b,c", "100 % sure, %2C: yes"), ("müller", "…")] {
            let written = hold(&[], &of(name, reason, 1_795_379_400));
            assert!(written.iter().all(|tag| !tag.contains(',')), "{written:?}");
            assert_eq!(holds(&written), [of(name, reason, 1_795_379_400)]);
        }
        for text in ["", " ", "two\nlines", &"x".repeat(1025)] {
            assert!(matches!(of(text, "reason", 1).check(), Err(MaintenanceError::MalformedHold(_))));
            assert!(matches!(of("name", text, 1).check(), Err(MaintenanceError::MalformedHold(_))));
        }
    }

    #[test]
    fn a_snapshot_is_held_until_the_last_hold_is_released() {
        let (one, two, by) = (of("Jane", "tax", 1), of("Jane", "audit", 2), of("John", "settled", 3));
        let held = hold(&hold(&["bulkhead".to_owned()], &one), &two);
        assert_eq!(held.iter().filter(|tag| *tag == HELD_TAG).count(), 1);
        assert!(matches!(release(&held, None, &by), Err(MaintenanceError::SeveralHolds(ids)) if ids.len() == 2));
        let half = release(&held, Some(&one.id()), &by).unwrap();
        assert!(is_held(&half) && holds(&half) == [two]);
        let free = release(&half, None, &by).unwrap();
        assert!(!is_held(&free));
        let history = ["bulkhead", "was-held:Jane:tax:", "was-held:Jane:audit:", "released:John:settled:"];
        assert!(
            history.iter().all(|start| free.iter().any(|tag| tag.starts_with(start))),
            "{free:?}"
        );
        assert!(matches!(release(&free, None, &by), Err(MaintenanceError::NotHeld)));
        let by_restic = ["held".to_owned()];
        assert!(is_held(&by_restic) && !is_held(&release(&by_restic, None, &by).unwrap()));
        assert!(is_held(&["hold:something else".to_owned()]));
    }
}

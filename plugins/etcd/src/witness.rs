//! A second member's word about the content: [`Witness`].
//!
//! `HashKV` of two members is the same where both were compacted at the same revision; that is how etcd itself finds a member that has drifted from the
//! others. A witness that does not answer, or was compacted at another time, proves nothing, and hinders no run.

use std::time::Duration;

use bulkhead_grpc::Call;
use bulkhead_sdk::{Error, ErrorKind, warn};

use crate::{members::Reached, rpc::messages::HashKvResponse};

/// How long a witness may still take when the snapshot and its own member's hash are there; it was asked at the same time.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// A member that was asked.
pub(crate) struct Witness {
    member: Reached,
    call: Call,
    revision: i64,
}

/// What it said.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The same; the member's address.
    Agrees(String),
    /// Something else.
    Differs(Error),
    /// Nothing that could be compared.
    Nothing,
}

impl Witness {
    /// Asks a member for its hash at `revision`; the answer is waited for in [`Self::hear`].
    pub(crate) fn ask(mut member: Reached, revision: i64) -> Option<Self> {
        match member.client.start_hash(revision) {
            Ok(call) => Some(Self { member, call, revision }),
            Err(error) => {
                warn!(address = member.client.address(); "this member was not asked for its hash: {error}");
                None
            }
        }
    }

    /// Compares the answer with that of the member at `address`.
    pub(crate) fn hear(mut self, address: &str, told: HashKvResponse) -> Heard {
        let witness = self.member.client.address().to_owned();
        match self.member.client.finish_hash(&mut self.call, PATIENCE) {
            Ok(answer) => compare((address, told), (&witness, answer), self.revision),
            Err(error) => {
                warn!(address = witness; "this member did not tell its hash: {error}");
                Heard::Nothing
            }
        }
    }
}

fn compare((address, told): (&str, HashKvResponse), (witness, answer): (&str, HashKvResponse), revision: i64) -> Heard {
    if answer.compact_revision != told.compact_revision {
        return Heard::Nothing;
    }
    if answer.hash == told.hash {
        return Heard::Agrees(witness.to_owned());
    }
    let message = format!(
        "the members at {address} and {witness} disagree about the keys up to revision {revision}: their HashKV is {} and {}",
        told.hash, answer.hash
    );
    let hint = "find the odd one with `etcdctl endpoint hashkv --cluster`, remove it and add it anew; to back up what is there all the same, set \
                `accept = [\"corrupt\"]`";
    Heard::Differs(Error::new(ErrorKind::SourceDamaged, message).with_hint(hint).with_setting("accept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hash: u32, compact_revision: i64) -> HashKvResponse {
        HashKvResponse {
            hash,
            compact_revision,
            ..HashKvResponse::default()
        }
    }

    #[test]
    fn only_hashes_of_members_that_were_compacted_alike_can_differ() {
        let heard = |other| compare(("a:1", answer(7, 100)), ("b:1", other), 200);
        assert!(matches!(heard(answer(7, 100)), Heard::Agrees(address) if address == "b:1"));
        assert!(matches!(heard(answer(8, 101)), Heard::Nothing));
        assert!(matches!(heard(answer(7, 99)), Heard::Nothing));
        let Heard::Differs(error) = heard(answer(8, 100)) else {
            unreachable!("they differ")
        };
        assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::SourceDamaged, Some("accept")));
        assert!(error.message.contains("a:1") && error.message.contains("b:1"), "{error}");
    }
}

//! Keys that go into one transaction: [`Batch`].

use crate::rpc::messages::{Compare, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request};

/// Operations of one transaction; etcd's own default limit (`--max-txn-ops`).
pub(crate) const MAX_OPERATIONS: usize = 128;

/// Bytes that a key costs in a transaction beside itself and its value: tags, lengths, the comparison, the look at it if that fails.
const OVERHEAD: usize = 64;

/// `EQUAL` of `Compare.CompareResult`.
const EQUAL: i32 = 0;
/// `CREATE` of `Compare.CompareTarget`.
const CREATE: i32 = 1;

/// Keys to write at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) puts: Vec<PutRequest>,
    bytes: usize,
}

/// What a key costs in a transaction. The key itself is in it three times: to be compared, to be written, and to be looked at.
fn cost(put: &PutRequest) -> usize {
    3 * put.key.len() + put.value.len() + OVERHEAD
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.puts.is_empty()
    }

    /// Whether `put` fits beside what is there. A batch of one always does: whether it is too large is the server's to say.
    pub(crate) fn fits(&self, put: &PutRequest, bytes: usize) -> bool {
        self.puts.is_empty() || (self.puts.len() < MAX_OPERATIONS && self.bytes + cost(put) <= bytes)
    }

    pub(crate) fn push(&mut self, put: PutRequest) {
        self.bytes += cost(&put);
        self.puts.push(put);
    }

    /// Forgets the keys that `keep` says no to.
    pub(crate) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        self.puts.retain(|put| keep(&put.key));
        self.bytes = self.puts.iter().map(cost).sum();
    }

    /// Writes all, whatever is there.
    pub(crate) fn replacing(&self) -> TxnRequest {
        TxnRequest {
            success: self.puts.iter().map(|put| operation(Request::Put(put.clone()))).collect(),
            ..TxnRequest::default()
        }
    }

    /// Writes all if none of the keys is there; else tells which ones are.
    pub(crate) fn creating(&self) -> TxnRequest {
        TxnRequest {
            compare: self.puts.iter().map(|put| absent(&put.key)).collect(),
            failure: self.looks(),
            ..self.replacing()
        }
    }

    /// Only tells which keys are there.
    pub(crate) fn looking(&self) -> TxnRequest {
        TxnRequest {
            success: self.looks(),
            ..TxnRequest::default()
        }
    }

    fn looks(&self) -> Vec<RequestOp> {
        let look = |put: &PutRequest| {
            operation(Request::Range(RangeRequest {
                key: put.key.clone(),
                keys_only: true,
                ..RangeRequest::default()
            }))
        };
        self.puts.iter().map(look).collect()
    }
}

fn operation(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn absent(key: &[u8]) -> Compare {
    Compare {
        result: EQUAL,
        target: CREATE,
        key: key.to_vec(),
        create_revision: Some(0),
    }
}

/// A stored key as it is to be written.
pub(crate) fn put(stored: KeyValue, key: Vec<u8>, lease: i64) -> PutRequest {
    PutRequest {
        key,
        value: stored.value,
        lease,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn sized(key: usize, value: usize) -> PutRequest {
        PutRequest {
            key: vec![b'k'; key],
            value: vec![b'v'; value],
            lease: i64::MIN,
        }
    }

    #[test]
    fn a_batch_is_never_larger_on_the_wire_than_it_counts() {
        for (key, value) in [(1, 0), (200, 0), (20, 1000), (4000, 100)] {
            let mut batch = Batch::default();
            while batch.fits(&sized(key, value), 100_000) {
                batch.push(sized(key, value));
            }
            assert!(batch.creating().encoded_len() <= 100_000, "{key} {value}");
            assert!(batch.puts.len() == MAX_OPERATIONS || batch.bytes > 80_000, "{key} {value}");
        }
    }

    #[test]
    fn a_value_beyond_the_bound_goes_alone() {
        let mut batch = Batch::default();
        assert!(batch.fits(&sized(1, 1_000_000), 1000));
        batch.push(sized(1, 1_000_000));
        assert!(!batch.fits(&sized(1, 1), 1000));
        batch.retain(|_| false);
        assert!(batch.is_empty() && batch.fits(&sized(1, 1), 1000));
    }
}

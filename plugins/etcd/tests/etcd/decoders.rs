//! The decoders of etcd's messages, for tests and for the fuzz target `protobuf`, which includes this file.

use bulkhead_plugin_etcd::rpc::messages::{
    AlarmResponse, HashKvResponse, KeyValue, MemberListResponse, RangeResponse, SnapshotResponse, StatusResponse, StoredLease, TxnResponse,
};
use prost::Message as _;

/// Gives the bytes to each of them. A key that is read can be written and read again.
pub(crate) fn decode_as_everything(message: &[u8]) {
    let _ = StatusResponse::decode(message);
    let _ = SnapshotResponse::decode(message);
    let _ = AlarmResponse::decode(message);
    let _ = HashKvResponse::decode(message);
    let _ = MemberListResponse::decode(message);
    let _ = RangeResponse::decode(message);
    let _ = TxnResponse::decode(message);
    let _ = StoredLease::decode(message);
    if let Ok(key) = KeyValue::decode(message) {
        assert_eq!(KeyValue::decode(&*key.encode_to_vec()), Ok(key));
    }
}

//! Messages of etcd, whatever is in them; a key that was read can be written and read again.
#![no_main]

use bulkhead_plugin_etcd::rpc::messages::{
    AlarmResponse, HashKvResponse, KeyValue, MemberListResponse, RangeResponse, SnapshotResponse, StatusResponse, StoredLease, TxnResponse,
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|message: &[u8]| {
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
});

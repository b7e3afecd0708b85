//! HTTP/2 and gRPC, as a hostile member of etcd would speak them: a channel comes to an end, whatever it hears.
#![no_main]

use std::time::Duration;

use bulkhead_grpc::{Channel, Options, Transport};
use bulkhead_plugin_etcd::rpc::messages::{Empty, StatusResponse};
use bulkhead_sdk::Result;
use libfuzzer_sys::fuzz_target;

/// How long an answer may take: what was played ends at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// A member that has said all that it will say.
struct Played(Vec<u8>);

impl Transport for Played {
    fn read(&mut self, max: usize, _: Option<Duration>) -> Result<Option<Vec<u8>>> {
        let later = self.0.split_off(self.0.len().min(max).min(1024));
        let now = std::mem::replace(&mut self.0, later);
        Ok((!now.is_empty()).then_some(now))
    }

    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn address(&self) -> String {
        "played.test:1".to_owned()
    }
}

fuzz_target!(|answer: &[u8]| {
    let Ok(mut channel) = Channel::connect(Played(answer.to_vec()), Options::default()) else {
        return;
    };
    let _ = channel.unary::<StatusResponse>("/etcdserverpb.Maintenance/Status", &Empty {}, PATIENCE);
    if let Ok(mut call) = channel.start("/etcdserverpb.Maintenance/Snapshot", &Empty {}, None) {
        while let Ok(Some(_)) = channel.next(&mut call, PATIENCE) {}
    }
});

//! How far an operation is. Calls are cheap; the host shows the last one.

use crate::host;

/// Reports what is going on in a few words ("copying base/5"), bytes done so far, and bytes in all where that can be estimated.
pub fn report(phase: &str, bytes: u64, total_bytes: Option<u64>) {
    host::with_host(|host| host.progress(phase, bytes, total_bytes));
}

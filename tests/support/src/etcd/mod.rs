//! etcd clusters of a test's own, of Debian's release (3.4) and of one from PyPI (3.5), with etcd's own tools as oracles.

mod cluster;
mod member;
mod release;

pub use cluster::{Builder, Cluster};
pub use release::Release;

//! Real servers and tools for Bulkhead's tests, its demo and its benchmarks.
//!
//! Main types: [`postgres::Cluster`], [`redis::Server`], [`etcd::Cluster`], [`couchdb::Pouch`] and [`s3::Server`] (servers of one's own),
//! [`gdrive::Drive`] (a server of the tests' own), [`DelayLine`] (what makes one of them far away), [`WrongClock`] (what makes a program take it for another time), [`fabric_ca::Home`] (what one of Fabric's CAs keeps on disk), [`restic::Restic`], [`Scratch`] (a folder that goes away), and [`Bulkhead`] (the built binary with a configuration). Everything listens on 127.0.0.1 only, lives in scratch folders, and is stopped when its
//! value is dropped, and also when the test process is killed: see [`guardian`](mod@guardian).
//!
//! Nothing here skips: a tool that is missing is an [`Error`] that names the package to install.

mod bulkhead;
mod command;
pub mod couchdb;
mod delay;
mod error;
pub mod etcd;
pub mod fabric_ca;
pub mod gdrive;
pub mod guardian;
pub mod mutation;
pub mod plugins;
mod port;
pub mod postgres;
pub mod redis;
pub mod restic;
pub mod s3;
mod scratch;
pub mod seeds;
pub mod signal;
pub mod tls;
mod tree;
pub mod user;
mod wrong_clock;

pub use bulkhead::{Bulkhead, Outcome, binary};
pub use command::{Tool, installed, run};
pub use delay::DelayLine;
pub use error::Error;
pub use port::free_port;
pub use scratch::{Scratch, random_secret, sha256_of_file};
pub use tree::{Node, Tree};
pub use wrong_clock::WrongClock;

/// What every function here returns.
pub type Result<T> = std::result::Result<T, Error>;

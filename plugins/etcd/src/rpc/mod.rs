//! etcd's API over gRPC: `client.rs` is one member, `messages.rs` has what is said, `explain.rs` what the server's errors mean to an operator.

mod client;
mod explain;
pub mod messages;

pub(crate) use client::{Client, ENDPOINT, HASHING, Login, PASSWORD, addresses};
pub(crate) use explain::{explain, hung_up};

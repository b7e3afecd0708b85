//! Redis and Valkey servers of one's own: [`Server`], made by a [`Builder`]; [`cluster`](fn@cluster) makes three of them one, [`Sentinel`] watches one.
//!
//! Everything is on 127.0.0.1, in a scratch folder, and stopped by a guardian. [`Client`] is a client of the tests' own, so that what is tested is not
//! what tells whether it works.

mod client;
mod cluster;
mod sample;
mod sentinel;
mod server;

pub(crate) use client::command;
pub use client::{Client, Reply};
pub use cluster::cluster;
pub use sample::{Frozen, fill, frozen};
pub use sentinel::Sentinel;
pub use server::{Builder, Program, Server};

//! Object stores that speak S3: [`Server`], [`LockingServer`], and [`Proxy`], which lets requests fail on their way to one.

mod client;
mod locking;
mod process;
mod proxy;
mod server;

pub use client::Answer;
pub use locking::LockingServer;
pub use proxy::{Fault, Proxy};
pub use server::Server;

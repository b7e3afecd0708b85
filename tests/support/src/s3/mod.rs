//! Object stores that speak S3: [`Server`], and [`Proxy`], which lets requests fail on their way to one.

mod client;
mod proxy;
mod server;

pub use client::Answer;
pub use proxy::{Fault, Proxy};
pub use server::Server;

//! CouchDB, twice: [`Pouch`] is PouchDB's server, a real one that speaks CouchDB's protocol, though not all of it; [`Imitation`] is a server of the tests' own that answers as
//! CouchDB 3.4 does where PouchDB's does not (opaque sequences, nulls between them, compressed attachments, `multipart/related`, security objects, logins), and
//! misbehaves on request.

mod attachment;
mod client;
mod imitation;
mod pouch;
mod routes;
mod store;

pub use client::{Client, Reply};
pub(crate) use imitation::serve;
pub use imitation::{Answer, Imitation, Request};
pub use pouch::Pouch;
pub use store::{Database, Server as State};

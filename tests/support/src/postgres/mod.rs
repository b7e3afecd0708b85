//! A PostgreSQL server of one's own, Debian's 15 or another major version: [`Cluster`], made by a [`Builder`].
//!
//! A free loopback port, TLS with a certification authority of its own, SCRAM passwords, a Unix socket, data checksums. Settings are
//! given on the server's command line and not in `postgresql.conf`, so that a restored data directory starts with the settings of its new place.

mod builder;
mod certificates;
mod cluster;
mod configuration;
mod installation;
mod suite;

pub use builder::Builder;
pub use certificates::{Certificates, ClientCertificate, KeyFormat};
pub use cluster::Cluster;
pub use installation::Installation;
pub use suite::application_schemas;

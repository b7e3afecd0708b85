//! Bytes to messages and back, without any input or output.
//!
//! [`Decoder`] cuts the server's stream into frames, [`Message`] gives a frame its meaning, [`frontend`] writes what a client says.

mod decoder;
mod fields;
pub mod frontend;
mod message;

pub(crate) use decoder::Located;
pub use decoder::{DecodeError, Decoder, Frame, MAX_MESSAGE, MAX_MESSAGE_BEFORE_LOGIN};
pub use fields::{Fields, Truncated};
pub use message::{Authentication, DataRow, Message};

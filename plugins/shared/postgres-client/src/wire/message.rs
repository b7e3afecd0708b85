//! What a server says: [`Message`], parsed from a frame.

use super::{Fields, Truncated};
use crate::report::ServerReport;

/// What the server wants before it lets the client in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Nothing (more).
    Ok,
    /// The password in clear.
    CleartextPassword,
    /// The password as an md5 answer to this salt.
    Md5Password {
        /// Of this connection.
        salt: [u8; 4],
    },
    /// One of these SASL mechanisms.
    Sasl {
        /// In the server's order.
        mechanisms: Vec<&'a [u8]>,
    },
    /// The mechanism's next message.
    SaslContinue(&'a [u8]),
    /// The mechanism's last message.
    SaslFinal(&'a [u8]),
    /// A method that this client doesn't have (Kerberos, GSSAPI, SSPI, …), by its number in the protocol.
    Other(u32),
}

/// The columns of one row; `None` is SQL's NULL. Values are in text format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow<'a>(pub Vec<Option<&'a [u8]>>);

/// A message of the server, other than `CopyData`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in PostgreSQL's documentation, chapter \"Message Formats\"")]
pub enum Message<'a> {
    Authentication(Authentication<'a>),
    BackendKeyData {
        process: u32,
    },
    CommandComplete {
        tag: &'a [u8],
    },
    CopyBothResponse,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    DataRow(DataRow<'a>),
    EmptyQueryResponse,
    ErrorResponse(ServerReport),
    NegotiateProtocolVersion,
    NoticeResponse(ServerReport),
    NotificationResponse,
    ParameterStatus {
        name: &'a [u8],
        value: &'a [u8],
    },
    ReadyForQuery,
    RowDescription {
        columns: Vec<&'a [u8]>,
    },
    /// A type byte that no server of protocol 3.0 sends to this client.
    Unknown(u8),
}

impl<'a> Message<'a> {
    /// Parses the body of a message of type `tag`.
    pub fn parse(tag: u8, body: &'a [u8]) -> Result<Self, Truncated> {
        let mut fields = Fields::new(body);
        Ok(match tag {
            b'R' => Self::Authentication(authentication(fields)?),
            b'K' => Self::BackendKeyData { process: fields.u32()? },
            b'C' => Self::CommandComplete { tag: fields.string()? },
            b'W' => Self::CopyBothResponse,
            b'c' => Self::CopyDone,
            b'G' => Self::CopyInResponse,
            b'H' => Self::CopyOutResponse,
            b'D' => Self::DataRow(data_row(fields)?),
            b'I' => Self::EmptyQueryResponse,
            b'E' => Self::ErrorResponse(ServerReport::parse(fields)?),
            b'v' => Self::NegotiateProtocolVersion,
            b'N' => Self::NoticeResponse(ServerReport::parse(fields)?),
            b'A' => Self::NotificationResponse,
            b'S' => Self::ParameterStatus {
                name: fields.string()?,
                value: fields.string()?,
            },
            b'Z' => Self::ReadyForQuery,
            b'T' => Self::RowDescription {
                columns: row_description(fields)?,
            },
            other => Self::Unknown(other),
        })
    }
}

fn authentication(mut fields: Fields<'_>) -> Result<Authentication<'_>, Truncated> {
    Ok(match fields.u32()? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => Authentication::Md5Password {
            salt: fields.u32()?.to_be_bytes(),
        },
        10 => Authentication::Sasl {
            mechanisms: mechanisms(fields)?,
        },
        11 => Authentication::SaslContinue(fields.rest()),
        12 => Authentication::SaslFinal(fields.rest()),
        other => Authentication::Other(other),
    })
}

fn mechanisms(mut fields: Fields<'_>) -> Result<Vec<&[u8]>, Truncated> {
    let mut mechanisms = Vec::new();
    loop {
        match fields.string()? {
            [] => return Ok(mechanisms),
            name => mechanisms.push(name),
        }
    }
}

/// The count is only a bound: columns are read while there are bytes for them.
fn data_row(mut fields: Fields<'_>) -> Result<DataRow<'_>, Truncated> {
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(match fields.i32()? {
            -1 => None,
            length => Some(fields.bytes(usize::try_from(length).map_err(|_| Truncated)?)?),
        });
    }
    Ok(DataRow(columns))
}

fn row_description(mut fields: Fields<'_>) -> Result<Vec<&[u8]>, Truncated> {
    /// Table, column, type, type's size, type's modifier and format, which a client that reads text does not need.
    const REST: usize = 4 + 2 + 4 + 2 + 4 + 2;
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(fields.string()?);
        fields.bytes(REST)?;
    }
    Ok(columns)
}

//! What a client says: each function appends one message to a buffer.

/// `SSLRequest`: may we speak TLS?
pub fn ssl_request(out: &mut Vec<u8>) {
    out.extend_from_slice(&8_u32.to_be_bytes());
    out.extend_from_slice(&80_877_103_u32.to_be_bytes());
}

/// `StartupMessage` for protocol 3.0 with its parameters. A zero byte in a parameter would end it early; [`crate::connect`] refuses that.
pub fn startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    untagged(out, |body| {
        body.extend_from_slice(&(3_u32 << 16).to_be_bytes());
        for (name, value) in parameters {
            string(body, name.as_bytes());
            string(body, value.as_bytes());
        }
        body.push(0);
    });
}

/// `PasswordMessage`: a password in clear, or an md5 answer.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    tagged(out, b'p', |body| string(body, password));
}

/// `SASLInitialResponse`: the mechanism and its first message.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, first: &[u8]) {
    tagged(out, b'p', |body| {
        string(body, mechanism.as_bytes());
        body.extend_from_slice(&length_of(first).to_be_bytes());
        body.extend_from_slice(first);
    });
}

/// `SASLResponse`: a further message of the mechanism.
pub fn sasl_response(out: &mut Vec<u8>, response: &[u8]) {
    tagged(out, b'p', |body| body.extend_from_slice(response));
}

/// `Query`: one statement of the simple protocol, or a replication command.
pub fn query(out: &mut Vec<u8>, statement: &str) {
    tagged(out, b'Q', |body| string(body, statement.as_bytes()));
}

/// Type and length of a `CopyData` whose `length` bytes follow.
pub fn copy_data_header(out: &mut Vec<u8>, length: usize) {
    out.push(b'd');
    out.extend_from_slice(&u32::try_from(length + 4).unwrap_or(u32::MAX).to_be_bytes());
}

/// `CopyDone`: no further `CopyData`.
pub fn copy_done(out: &mut Vec<u8>) {
    tagged(out, b'c', |_| {});
}

/// `Terminate`: good-bye.
pub fn terminate(out: &mut Vec<u8>) {
    tagged(out, b'X', |_| {});
}

fn string(body: &mut Vec<u8>, text: &[u8]) {
    body.extend_from_slice(text);
    body.push(0);
}

/// A client's own messages are far below 4 GiB; a longer one would be refused by every server, so the length saturates.
fn length_of(body: &[u8]) -> u32 {
    u32::try_from(body.len()).unwrap_or(u32::MAX)
}

fn tagged(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    untagged(out, write);
}

fn untagged(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = length_of(&out[start..]);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

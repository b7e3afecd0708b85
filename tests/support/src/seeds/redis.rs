//! Redis: files and replies.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::{
    Error, Result,
    redis::{Program, Server, command, fill},
};

/// Where the replies of a seed end: the answer to a question that is asked last.
pub const MARK: &[u8] = b"$8\r\nthe mark\r\n";

/// What each server makes of the sample, without what is merely long.
pub fn rdb() -> Result<Vec<Vec<u8>>> {
    let mut programs = Program::others()?;
    programs.push(Program::debian()?);
    programs.into_iter().map(dump).collect()
}

fn dump(program: Program) -> Result<Vec<u8>> {
    let server = Server::builder().program(program).start()?;
    let mut client = server.client()?;
    fill(&mut client)?;
    let long = ["string:large", "list:large", "set:large", "zset:large", "hash:large"];
    for key in long.into_iter().chain(["list:long", "set:long", "hash:long", "list:small"]) {
        client.call(&["DEL", key])?;
    }
    client.call(&["SAVE"])?;
    let file = server.folder().join("dump.rdb");
    std::fs::read(&file).map_err(Error::on_path("read", &file))
}

/// What is asked of a server in both versions of the protocol: all that the plugin asks for, and more.
const QUESTIONS: [&[&str]; 15] = [
    &["INFO"],
    &["CONFIG", "GET", "*"],
    &["ACL", "LIST"],
    &["ACL", "GETUSER", "default"],
    &["COMMAND", "INFO", "PSYNC", "GET", "XADD", "NONE"],
    &["CLIENT", "LIST"],
    &["CLUSTER", "NODES"],
    &["SCAN", "0", "COUNT", "1000"],
    &["XINFO", "STREAM", "stream", "FULL", "COUNT", "3"],
    &["ZRANGE", "zset:small", "0", "-1", "WITHSCORES"],
    &["HGETALL", "hash:small"],
    &["DUMP", "stream"],
    &["DUMP", "nothing"],
    &["FUNCTION", "LIST", "WITHCODE"],
    &["EVAL", "return {1, {2, {3, 'x', false}}, {err = 'ERR no'}}", "0"],
];

/// Kinds of replies that a server shows on demand.
const KINDS: [&str; 13] = [
    "string", "integer", "double", "null", "array", "set", "map", "attrib", "push", "verbatim", "true", "false", "bignum",
];

/// Replies, each followed by [`MARK`].
pub fn resp() -> Result<Vec<Vec<u8>>> {
    let server = Server::builder().debug().start()?;
    fill(&mut server.client()?)?;
    let failed = || Error::io("cannot talk to the server whose replies are recorded");
    let mut socket = TcpStream::connect(server.address()).map_err(failed())?;
    socket.set_read_timeout(Some(Duration::from_secs(60))).map_err(failed())?;
    let mut seeds = Vec::new();
    let mut record = |words: &[&str]| -> Result<()> {
        seeds.push(recorded(&mut socket, words).map_err(failed())?);
        Ok(())
    };
    for version in ["2", "3"] {
        record(&["HELLO", version])?;
        QUESTIONS.iter().try_for_each(|question| record(question))?;
    }
    KINDS.iter().try_for_each(|kind| record(&["DEBUG", "PROTOCOL", kind]))?;
    Ok(seeds)
}

/// What a server answers to this, byte by byte.
fn recorded(socket: &mut TcpStream, words: &[&str]) -> std::io::Result<Vec<u8>> {
    socket.write_all(&[command(words), command(&["ECHO", "the mark"])].concat())?;
    let mut answer = Vec::new();
    let mut piece = [0; 65_536];
    while !answer.ends_with(MARK) {
        match socket.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    Ok(answer)
}

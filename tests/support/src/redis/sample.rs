//! Data of every type and encoding ([`fill`]), and everything that a server holds, for comparison ([`frozen`]).

use std::collections::BTreeMap;

use super::{Client, Reply};
use crate::Result;

/// When the sample's volatile keys expire, in milliseconds since 1970: in the year 2100.
const EXPIRY: &str = "4102444800000";

/// Fills databases 0 and 5 with data of every type and encoding that Redis 6.2 and later have, values of 1 byte to 2 MiB, names of any bytes, expiries;
/// where the server has them, libraries of functions and expiring fields of hashes.
pub fn fill(client: &mut Client) -> Result<()> {
    strings(client)?;
    collections(client)?;
    stream(client)?;
    // What a server may be too old for.
    client.ask(&[
        "FUNCTION",
        "LOAD",
        "REPLACE",
        "#!lua name=sample\nredis.register_function('sample', function() return 1 end)",
    ])?;
    for (key, fields) in [("hash:field-ttl", 3), ("hash:field-ttl:large", 1000)] {
        for field in 0..fields {
            client.call(&["HSET", key, &format!("field:{field}"), &format!("value:{field}")])?;
        }
        client.ask(&["HPEXPIREAT", key, EXPIRY, "FIELDS", "1", "field:1"])?;
    }
    if client.ask(&["SELECT", "5"])? == Reply::Line("OK".to_owned()) {
        client.call(&["SET", "another", "database"])?;
        client.call(&["RPUSH", "list", "a", "b"])?;
        client.call(&["SELECT", "0"])?;
    }
    Ok(())
}

fn strings(client: &mut Client) -> Result<()> {
    client.call(&["SET", "string:byte", "x"])?;
    client.call(&["SET", "string:empty", ""])?;
    for number in ["0", "-1", "12", "300", "-40000", "2147483647", "9223372036854775807"] {
        client.call(&["SET", &format!("string:integer:{number}"), number])?;
        client.call(&["SET", number, "a name that is an integer"])?;
    }
    client.call(&["SET", "string:embedded", "forty-four bytes or fewer are kept in place"])?;
    client.call(&[b"SET", &b"string:raw"[..], &noise(1000, 1)])?;
    client.call(&[b"SET", &b"string:compressible"[..], &b"ab".repeat(5000)])?;
    client.call(&[b"SET", &b"string:large"[..], &noise(2 << 20, 2)])?;
    client.call(&[&b"SET"[..], b"name:\x00\xff\r\n*{}[]?\\", b"any bytes"])?;
    client.call(&[&b"SET"[..], &b"name:that-is-compressible:".repeat(20), b"long"])?;
    client.call(&["SET", "name:ünïcödé", "utf-8"])?;
    client.call(&["SET", "expiring", "later", "PXAT", EXPIRY]).map(drop).or_else(|_| {
        client.call(&["SET", "expiring", "later"])?;
        client.call(&["PEXPIREAT", "expiring", EXPIRY]).map(drop)
    })?;
    client.call(&["SETBIT", "string:bits", "70000", "1"])?;
    client.call(&["PFADD", "hyperloglog", "a", "b", "c"]).map(drop)
}

fn collections(client: &mut Client) -> Result<()> {
    // Small ones are packed, large ones are not; and a long element unpacks a small one.
    for (size, kind) in [(3, "small"), (2000, "large")] {
        let key = |name: &str| format!("{name}:{kind}");
        for number in 0..size {
            let text = format!("element:{number}");
            client.call(&["RPUSH", &key("list"), &text])?;
            client.call(&["SADD", &key("set"), &text])?;
            client.call(&["SADD", &key("set:integers"), &(number * 7).to_string()])?;
            client.call(&["ZADD", &key("zset"), &(f64::from(number) / 3.0).to_string(), &text])?;
            client.call(&["HSET", &key("hash"), &text, &number.to_string()])?;
        }
    }
    let long = noise(20_000, 3);
    for key in [&b"list:long"[..], b"list:small"] {
        client.call(&[b"LPUSH", key, &long])?;
    }
    client.call(&[&b"SADD"[..], b"set:long", &long])?;
    client.call(&[&b"HSET"[..], b"hash:long", b"field", &long])?;
    client.call(&[
        "ZADD",
        "zset:extremes",
        "-inf",
        "least",
        "inf",
        "most",
        "1e300",
        "huge",
        "-0",
        "zero",
    ])?;
    client.call(&["ZADD", "zset:long", "1", &"x".repeat(300)])?;
    client.call(&["GEOADD", "geo", "13.361389", "38.115556", "Palermo"]).map(drop)
}

fn stream(client: &mut Client) -> Result<()> {
    for number in 1..=500 {
        client.call(&[
            "XADD",
            "stream",
            &format!("{number}-1"),
            "number",
            &number.to_string(),
            "text",
            "abc",
        ])?;
    }
    client.call(&["XDEL", "stream", "3-1", "500-1"])?;
    client.call(&["XGROUP", "CREATE", "stream", "group", "0"])?;
    client.call(&["XGROUP", "CREATE", "stream", "idle-group", "$"])?;
    client.call(&["XREADGROUP", "GROUP", "group", "alice", "COUNT", "20", "STREAMS", "stream", ">"])?;
    client.call(&["XREADGROUP", "GROUP", "group", "bob", "COUNT", "5", "STREAMS", "stream", ">"])?;
    client.call(&["XACK", "stream", "group", "1-1", "2-1"])?;
    client.call(&["XADD", "stream:emptied", "1-1", "a", "b"])?;
    client.call(&["XDEL", "stream:emptied", "1-1"]).map(drop)
}

/// Bytes that do not compress, the same each time.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Everything that a server holds: content, expiry and encoding by database and key.
pub type Frozen = BTreeMap<(u32, Vec<u8>), (Vec<u8>, String, String)>;

/// Every key of the first 16 databases with its payload (`DUMP`), its expiry, and its encoding; and the functions.
///
/// The order of a hash table's elements is not a server's to keep, so of what is in one the sorted content stands for the payload.
pub fn frozen(client: &mut Client) -> Result<Frozen> {
    let mut all = BTreeMap::new();
    for database in 0..16_u32 {
        if matches!(client.ask(&["SELECT", &database.to_string()])?, Reply::Error(_)) && database > 0 {
            break;
        }
        let mut cursor = b"0".to_vec();
        loop {
            let reply = client.call(&[&b"SCAN"[..], &cursor, b"COUNT", b"1000"])?;
            let [next, keys] = reply.list() else { break };
            for key in keys.list().iter().map(Reply::bytes) {
                let encoding = client.call(&[&b"OBJECT"[..], b"ENCODING", &key])?.text();
                let expiry = expiry(client, &key)?;
                let content = content(client, &key, &encoding)?;
                all.insert((database, key), (content, expiry, encoding));
            }
            cursor = next.bytes();
            if cursor == b"0" {
                break;
            }
        }
    }
    if let Reply::List(libraries) = client.ask(&["FUNCTION", "LIST", "WITHCODE"])? {
        all.insert(
            (u32::MAX, Vec::new()),
            (format!("{libraries:?}").into_bytes(), String::new(), String::new()),
        );
    }
    client.ask(&["SELECT", "0"])?;
    Ok(all)
}

/// When a key expires. Where only the time that is left can be asked for, it is rounded to whole ten seconds.
fn expiry(client: &mut Client, key: &[u8]) -> Result<String> {
    match client.ask(&[&b"PEXPIRETIME"[..], key])? {
        Reply::Integer(time) => Ok(time.to_string()),
        _ => {
            let left = client.call(&[&b"PTTL"[..], key])?;
            let Reply::Integer(left) = left else { return Ok(left.text()) };
            Ok(if left < 0 { left.to_string() } else { "some".to_owned() })
        }
    }
}

fn content(client: &mut Client, key: &[u8], encoding: &str) -> Result<Vec<u8>> {
    let kind = client.call(&[&b"TYPE"[..], key])?.text();
    let command: &[&[u8]] = match (kind.as_str(), encoding) {
        ("set", "hashtable") => &[b"SMEMBERS", key],
        ("hash", "hashtable") => &[b"HGETALL", key],
        _ => return Ok(client.call(&[&b"DUMP"[..], key])?.bytes()),
    };
    let reply = client.call(command)?;
    let size = if kind == "hash" { 2 } else { 1 };
    let mut elements: Vec<Vec<u8>> = reply
        .list()
        .chunks(size)
        .map(|element| element.iter().flat_map(Reply::bytes).collect())
        .collect();
    elements.sort();
    let mut content = elements.concat();
    if kind == "hash"
        && let Reply::List(fields) = client.ask(&[&b"HPEXPIRETIME"[..], key, b"FIELDS", b"1", b"field:1"])?
    {
        content.extend_from_slice(format!("{fields:?}").as_bytes());
    }
    Ok(content)
}

//! The REST API of a CA, as fabric-ca-server 1.5 answers, over what is in the homes: [`Api`]. Its words and shapes are the real server's; requests are believed only with a
//! token whose signature OpenSSL has verified.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Home, MORE_CONFIG, Store, openssl};
use crate::couchdb::{Answer, Request};
use crate::{Error, Result};

/// Answers in the server's place, or does something before it answers.
type Meddler = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

struct Shared {
    home: Home,
    meddler: Mutex<Option<Meddler>>,
}

/// A server, for all CAs of a home.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

impl std::fmt::Debug for Api {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Api")
    }
}

impl Api {
    /// That of a server with this home.
    #[must_use]
    pub fn of(home: &Home) -> Self {
        Self(Arc::new(Shared {
            home: home.clone(),
            meddler: Mutex::default(),
        }))
    }

    /// Lets `meddler` see each request first.
    pub fn meddle(&self, meddler: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        *self.0.meddler.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(meddler));
    }

    /// The answer to a request. What the tests' surroundings fail with is a 500.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        let mut meddler = self.0.meddler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = meddler.as_mut().and_then(|meddler| meddler(request)) {
            return answer;
        }
        self.route(request).unwrap_or_else(|error| failure(500, 0, &error.to_string()))
    }

    /// Listens on a loopback port, until the process ends; its URL.
    pub fn serve(&self) -> Result<String> {
        let server = self.clone();
        crate::couchdb::serve(move |request| server.answer(request))
    }

    fn route(&self, request: &Request) -> Result<Answer> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let named = query.split('&').find_map(|pair| pair.strip_prefix("ca="));
        let name = named.or_else(|| body["caname"].as_str()).unwrap_or_default();
        let Some(home) = self.home(name)? else {
            return Ok(failure(404, 19, &format!("CA '{name}' does not exist")));
        };
        if path != "/cainfo" && !is_authentic(&home, request)? {
            return Ok(failure(401, 20, "Authentication failure"));
        }
        let result = match path {
            "/cainfo" => info(&home)?,
            "/identities" => identities(&home)?,
            "/affiliations" => affiliations(&home)?,
            "/certificates" => certificates(&home, query.contains("notrevoked=true"))?,
            "/gencrl" => json!({ "CRL": STANDARD.encode(openssl::revocations(&home)?) }),
            _ => return Ok(Answer::json(404, "404 page not found")),
        };
        Ok(Answer::json(
            200,
            json!({ "result": result, "errors": [], "messages": [], "success": true }),
        ))
    }

    /// The CA of a name; the server's own has none, or the one in its config.
    fn home(&self, name: &str) -> Result<Option<Home>> {
        let own = &self.0.home;
        let other = own.join("ca").join(name);
        Ok(match name {
            name if name.is_empty() || name == own.name => Some(own.clone()),
            name if other.join(MORE_CONFIG).exists() => {
                let home = Home::new(other, name, own.curve)?;
                Some(match &own.store {
                    Store::Sqlite(_) => home,
                    Store::Postgres { cluster, database } => home.kept_in(cluster, &format!("{database}_{name}")),
                })
            }
            _ => None,
        })
    }
}

fn failure(status: u16, code: u32, message: &str) -> Answer {
    let errors = json!([{ "code": code, "message": message }]);
    Answer::json(status, json!({ "result": "", "errors": errors, "messages": [], "success": false }))
}

/// Whether the token's signature is over this very request, and its certificate a good one of this CA.
fn is_authentic(home: &Home, request: &Request) -> Result<bool> {
    let Some((certificate, signature)) = request.header("authorization").and_then(|token| token.split_once('.')) else {
        return Ok(false);
    };
    let (Ok(pem), Ok(signature)) = (STANDARD.decode(certificate), STANDARD.decode(signature)) else {
        return Ok(false);
    };
    let (path, body) = (STANDARD.encode(&request.path), STANDARD.encode(&request.body));
    let message = format!("{}.{path}.{body}.{certificate}", request.method);
    let pem = String::from_utf8_lossy(&pem);
    let known = home.query(&format!(
        "SELECT count(*) FROM certificates WHERE status = 'good' AND substr({}, 1, {}) = '{}'",
        home.store.text("pem"),
        pem.trim().len(),
        pem.trim()
    ))?;
    Ok(known == "1" && openssl::is_signature(pem.as_bytes(), message.as_bytes(), &signature)?)
}

/// The rows of a table, as objects with these columns.
fn rows(home: &Home, columns: &[&'static str], from: &str) -> Result<Vec<Value>> {
    let made = |column: &&'static str| {
        let made = if *column == "pem" {
            home.store.text(column)
        } else {
            (*column).to_owned()
        };
        (*column, made)
    };
    let columns: Vec<_> = columns.iter().map(made).collect();
    home.store.rows(&columns, from)
}

fn info(home: &Home) -> Result<Value> {
    let file = |path: &Path| fs::read(path).map_err(Error::on_path("read", path));
    let chain = [home.join("ca-chain.pem"), home.join("ca-cert.pem")]
        .into_iter()
        .find(|path| path.exists());
    Ok(json!({
        "CAName": home.name,
        "CAChain": STANDARD.encode(file(&chain.unwrap_or_default())?),
        "IssuerPublicKey": STANDARD.encode(file(&home.join("IssuerPublicKey"))?),
        "IssuerRevocationPublicKey": STANDARD.encode(file(&home.join("IssuerRevocationPublicKey"))?),
        "Version": "1.5.21",
    }))
}

fn identities(home: &Home) -> Result<Value> {
    let rows = rows(
        home,
        &["id", "type", "affiliation", "attributes", "max_enrollments"],
        "users ORDER BY id",
    )?;
    let identity = |row: &Value| {
        let attributes: Value = serde_json::from_str(row["attributes"].as_str().unwrap_or_default()).unwrap_or_default();
        json!({ "id": row["id"], "type": row["type"], "affiliation": row["affiliation"], "attrs": attributes, "max_enrollments": row["max_enrollments"] })
    };
    Ok(json!({ "identities": rows.iter().map(identity).collect::<Vec<_>>(), "caname": home.name }))
}

fn affiliations(home: &Home) -> Result<Value> {
    let rows = rows(home, &["name", "prekey"], "affiliations ORDER BY name")?;
    Ok(json!({ "name": "", "affiliations": below(&rows, ""), "caname": home.name }))
}

fn below(rows: &[Value], parent: &str) -> Value {
    let children = rows.iter().filter(|row| row["prekey"] == parent);
    let affiliation = |row: &Value| match below(rows, row["name"].as_str().unwrap_or_default()) {
        Value::Array(list) if list.is_empty() => json!({ "name": row["name"] }),
        list => json!({ "name": row["name"], "affiliations": list }),
    };
    children.map(affiliation).collect()
}

fn certificates(home: &Home, good: bool) -> Result<Value> {
    let only = if good { "WHERE status = 'good'" } else { "" };
    let rows = rows(home, &["pem"], &format!("certificates {only} ORDER BY serial_number"))?;
    let listed: Vec<Value> = rows.iter().map(|row| json!({ "PEM": row["pem"] })).collect();
    Ok(json!({ "certs": listed, "caname": "" }))
}

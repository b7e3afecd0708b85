//! A session with a server, by its cookie: [`Session`]. For servers that take no other login; elsewhere the host adds the credentials, and the plugin never has them.

use std::cell::{Cell, RefCell};

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, http::Request, secrets};
use serde_json::json;

use crate::server::ENDPOINT;

/// The user's password, revealed.
pub(crate) const PASSWORD: &str = "password";

/// A user's session, begun when it is needed first.
pub(crate) struct Session {
    user: String,
    cookie: RefCell<Option<String>>,
    /// How often it was begun.
    begun: Cell<u64>,
    /// How many requests were refused that had its cookie.
    refused: Cell<u64>,
}

impl Session {
    /// Of this user, with the granted password.
    pub(crate) fn of(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            cookie: RefCell::new(None),
            begun: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// The header's value.
    pub(crate) fn cookie(&self) -> Result<String> {
        let mut cookie = self.cookie.borrow_mut();
        if let Some(cookie) = &*cookie {
            return Ok(cookie.clone());
        }
        let begun = self.begin().context(|| "the server does not let the user in")?;
        *cookie = Some(begun.clone());
        self.begun.set(self.begun.get() + 1);
        Ok(begun)
    }

    /// Which cookie it has, of those that it has had.
    pub(crate) fn number(&self) -> u64 {
        self.begun.get()
    }

    /// A request with the cookie `number` was refused: that one is forgotten, but none that was given since, while the request was on its way.
    pub(crate) fn refuse(&self, number: u64) {
        self.refused.set(self.refused.get() + 1);
        if number == self.begun.get() {
            self.cookie.borrow_mut().take();
        }
    }

    /// How many requests were refused though they had a cookie: another one may do better, unlike a login that is refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    fn begin(&self) -> Result<String> {
        let password = secrets::reveal(PASSWORD)?;
        let password = password
            .as_str()
            .ok_or_else(|| Error::config("user", "the password of a CouchDB user is text, `secret.password` is not"))?;
        let login = json!({ "name": self.user, "password": password }).to_string();
        let request = Request::new("POST", ENDPOINT, "/_session").header("content-type", "application/json");
        let answer = request.send_bytes(login.as_bytes())?.success()?;
        let set = answer
            .header("set-cookie")
            .and_then(|value| value.split(';').next())
            .map(str::to_owned);
        set.ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                "the server began no session: it answered a login without a cookie",
            )
        })
    }
}

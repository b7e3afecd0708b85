//! A session with a server, by its cookie: [`Session`]. For servers that take no other login; elsewhere the host adds the credentials, and the plugin never has them.

use std::cell::RefCell;

use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, http::Request, secrets};
use serde_json::json;

use crate::server::ENDPOINT;

/// The user's password, revealed.
pub(crate) const PASSWORD: &str = "password";

/// A user's session, begun when it is needed first.
pub(crate) struct Session {
    user: String,
    cookie: RefCell<Option<String>>,
}

impl Session {
    /// Of this user, with the granted password.
    pub(crate) fn of(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            cookie: RefCell::new(None),
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
        Ok(begun)
    }

    /// Forgets the cookie; whether there was one, so that another may do better.
    pub(crate) fn has_ended(&self) -> bool {
        self.cookie.borrow_mut().take().is_some()
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

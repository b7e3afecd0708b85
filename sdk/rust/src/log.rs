//! Structured log records: the macros [`trace!`](crate::trace), [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
//! [`error!`](crate::error). They reach the host's log with run, pipeline and plugin attached. Secrets do not belong here.

use crate::host;

/// How important a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the usual five")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a record; the macros are shorter. At most 16 KiB arrive.
pub fn write(level: Level, message: &str, fields: &[(&str, String)]) {
    host::with_host(|host| host.log(level, message, fields));
}

/// `log!(Level::Info, "…")`: what the other macros expand to.
///
/// Fields come first, `name = value` with anything that implements `Display`, ended by `;`:
///
/// ```
/// # let (table, rows) = ("a", 3);
/// bulkhead_sdk::info!(table = table, rows = rows; "copied {table}");
/// ```
#[macro_export]
macro_rules! log {
    ($level:expr, $message:literal $($arguments:tt)*) => {
        $crate::log::write($level, &::std::format!($message $($arguments)*), &[])
    };
    ($level:expr, $($name:ident = $value:expr),+ ; $($message:tt)+) => {
        $crate::log::write(
            $level,
            &::std::format!($($message)+),
            &[$((::std::stringify!($name), ::std::string::ToString::to_string(&$value))),+],
        )
    };
}

/// Logs for whoever debugs the plugin. See [`log!`](crate::log!) for fields.
#[macro_export]
macro_rules! trace { ($($arguments:tt)+) => { $crate::log!($crate::log::Level::Trace, $($arguments)+) }; }
/// Logs for whoever debugs a pipeline. See [`log!`](crate::log!) for fields.
#[macro_export]
macro_rules! debug { ($($arguments:tt)+) => { $crate::log!($crate::log::Level::Debug, $($arguments)+) }; }
/// Logs what an operator may want to know. See [`log!`](crate::log!) for fields.
#[macro_export]
macro_rules! info { ($($arguments:tt)+) => { $crate::log!($crate::log::Level::Info, $($arguments)+) }; }
/// Logs what an operator should look into. See [`log!`](crate::log!) for fields.
#[macro_export]
macro_rules! warn { ($($arguments:tt)+) => { $crate::log!($crate::log::Level::Warn, $($arguments)+) }; }
/// Logs a failure that the operation survives; one that it doesn't is returned. See [`log!`](crate::log!) for fields.
#[macro_export]
macro_rules! error { ($($arguments:tt)+) => { $crate::log!($crate::log::Level::Error, $($arguments)+) }; }

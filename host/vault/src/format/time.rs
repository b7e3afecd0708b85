//! Times as Go writes them: RFC 3339 with as many digits of nanoseconds as are needed.

use bulkhead_model::Timestamp;

/// The first second of year 0: Go's JSON knows no earlier one.
const EARLIEST: i64 = -62_167_219_200;
/// A second near the end of year 9999, the last that both Go and jiff can tell in every zone.
const LATEST: i64 = 253_402_207_200;

/// Writes a time in UTC. Times outside the years 0 to 9999 are moved to their ends, as restic does.
pub(crate) fn format(time: Timestamp) -> String {
    let seconds = time.seconds.clamp(EARLIEST, LATEST);
    let nanoseconds = if seconds == time.seconds {
        i32::try_from(time.nanoseconds.min(999_999_999)).unwrap_or(0)
    } else {
        0
    };
    jiff::Timestamp::from_nanosecond(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// Reads a time with any offset.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("{text:?} is no time: {error}"))?;
    // jiff counts nanoseconds towards zero on both sides of the epoch, we always forward.
    let nanoseconds = time.as_nanosecond();
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    Ok(Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(0),
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0),
    })
}

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

/// Times as fields of a document, for `#[serde(with)]`.
pub(crate) mod rfc3339 {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::Timestamp;

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        super::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn times_survive_on_both_sides_of_the_epoch() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (-2, 500_000_000, "1969-12-31T23:59:58.5Z"),
            (1_420_218_650, 895_208_559, "2015-01-02T17:10:50.895208559Z"),
            (EARLIEST, 0, "0000-01-01T00:00:00Z"),
        ] {
            let time = Timestamp { seconds, nanoseconds };
            assert_eq!(format(time), text);
            assert_eq!(parse(text).unwrap(), time);
        }
        assert_eq!(parse("2015-01-02T18:10:50.895208559+01:00").unwrap().seconds, 1_420_218_650);
    }

    #[test]
    fn absurd_times_become_the_ends_of_the_calendar() {
        assert_eq!(
            format(Timestamp {
                seconds: i64::MIN,
                nanoseconds: 7
            }),
            "0000-01-01T00:00:00Z"
        );
        assert!(
            format(Timestamp {
                seconds: i64::MAX,
                nanoseconds: 7
            })
            .starts_with("9999-12-3")
        );
        assert!(parse("yesterday").is_err());
    }
}

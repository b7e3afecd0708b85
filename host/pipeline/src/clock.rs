//! The current time, in the types of the model.

use bulkhead_model::Timestamp;

/// Now.
#[must_use]
pub(crate) fn now() -> Timestamp {
    timestamp(jiff::Timestamp::now())
}

/// `time` in the types of the model.
pub(crate) fn timestamp(time: jiff::Timestamp) -> Timestamp {
    let nanoseconds = time.as_nanosecond();
    Timestamp {
        seconds: i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

/// `time` as RFC 3339 in UTC, with seconds.
#[must_use]
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_second(time.seconds)
        .map(|time| time.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_everybody_writes_them() {
        assert_eq!(
            rfc3339(Timestamp {
                seconds: 1_700_000_000,
                nanoseconds: 5
            }),
            "2023-11-14T22:13:20Z"
        );
        assert_eq!(
            rfc3339(Timestamp {
                seconds: -1,
                nanoseconds: 0
            }),
            "1969-12-31T23:59:59Z"
        );
    }
}

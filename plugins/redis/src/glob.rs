//! Patterns for keys, as Redis has them in KEYS and SCAN: [`matches`].

/// Whether `key` matches: `*` any bytes, `?` one, `[a-c]` and `[^a]` one of a set, `\` takes the next byte as it is.
///
/// Iterative, with one point to return to: no pattern takes more than its length times the key's.
pub(crate) fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    // The last star, and how much of the key it has taken.
    let mut star: Option<(usize, usize)> = None;
    while position < key.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, position));
            at += 1;
            continue;
        }
        if let Some(next) = one(&pattern[at.min(pattern.len())..], key[position]) {
            at += next;
            position += 1;
            continue;
        }
        let Some((behind, taken)) = star else { return false };
        star = Some((behind, taken + 1));
        (at, position) = (behind, taken + 1);
    }
    pattern[at.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

/// Whether the pattern's beginning matches this byte, and how long that beginning is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [b'[', ref rest @ ..] => set(rest, byte).map(|length| length + 1),
        [literal, ..] => (literal == byte).then_some(1),
    }
}

/// Whether the byte is in the set that stands behind `[`, and how long that is with its `]`.
fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match *pattern.get(at..)? {
            // A set that does not end takes the rest, as on the server.
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [first, b'-', last, ..] if last != b']' => {
                found |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [single, ..] => {
                found |= single == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_on_the_server() {
        for (pattern, key, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("user:*", "user:1", true),
            ("user:*", "users:1", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[a-b]llo", "hcllo", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("", "", true),
            ("", "a", false),
            ("a[", "a", false),
            ("a[b", "ab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), key.as_bytes()), expected, "{pattern} on {key}");
        }
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let pattern = b"*a".repeat(2000);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &b"a".repeat(10_000)));
    }
}

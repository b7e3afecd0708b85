//! [`ReadContent`]: how much of the packs a verification reads, and how an operator writes that.

use bulkhead_config::ByteSize;
use bulkhead_vault as vault;

use crate::clock;

/// How much of the content a verification reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ReadContent {
    /// Folders only, which are read in any case.
    #[default]
    None,
    /// Some of the packs.
    Subset(Subset),
    /// Every byte.
    All,
}

/// Some of the packs.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// As it is told: what was asked for, with the part of today.
    name: String,
    pub(crate) packs: vault::Subset,
}

/// Not a subset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part (`2/7`), a part of each day (`rotating/7`), a share (`5%`) or a size (`2 GiB`)")]
pub struct SubsetError(String);

impl ReadContent {
    /// Reads what was asked for: the part `2/7`; `rotating/7`, of which each day since 1970 (UTC) is the next part, so that a daily verification has read everything
    /// after seven days; the share `5%` or the size `2 GiB`, chosen at random.
    ///
    /// # Errors
    /// [`SubsetError`].
    pub fn some(text: &str) -> Result<Self, SubsetError> {
        subset(text.trim(), clock::now().seconds)
            .map(Self::Subset)
            .ok_or_else(|| SubsetError(text.to_owned()))
    }

    /// What is read, where it is neither nothing nor everything.
    pub(crate) fn subset(&self) -> Option<String> {
        match self {
            Self::Subset(subset) => Some(subset.name.clone()),
            Self::None | Self::All => None,
        }
    }
}

fn subset(text: &str, now: i64) -> Option<Subset> {
    let named = |packs| Subset {
        name: text.to_owned(),
        packs,
    };
    if let Some((number, of)) = text.split_once('/') {
        let of: u32 = of.trim().parse().ok().filter(|of| *of > 0)?;
        if number.trim() == "rotating" {
            let number = u32::try_from(now.div_euclid(86_400).rem_euclid(i64::from(of))).ok()? + 1;
            return Some(Subset {
                name: format!("{number}/{of}"),
                packs: vault::Subset::Part { number, of },
            });
        }
        let number = number.trim().parse().ok().filter(|number| (1..=of).contains(number))?;
        return Some(named(vault::Subset::Part { number, of }));
    }
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().ok()?;
        return (percent > 0.0 && percent <= 100.0).then(|| named(vault::Subset::Share(percent / 100.0)));
    }
    let size = ByteSize::parse(text).ok().filter(|size| size.0 > 0)?;
    Some(named(vault::Subset::Bytes(size.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs(text: &str, now: i64) -> Option<vault::Subset> {
        subset(text, now).map(|subset| subset.packs)
    }

    #[test]
    fn parts_shares_and_sizes_are_read() {
        use vault::Subset::{Bytes, Part, Share};
        assert_eq!(packs("2/7", 0), Some(Part { number: 2, of: 7 }));
        assert_eq!(packs("2.5%", 0), Some(Share(0.025)));
        assert_eq!(packs("100 %", 0), Some(Share(1.0)));
        assert_eq!(packs("2 GiB", 0), Some(Bytes(2 << 30)));
        for nonsense in [
            "",
            "0/7",
            "8/7",
            "1/0",
            "0%",
            "101%",
            "NaN%",
            "2",
            "a/7",
            "rotating",
            "rotating/0",
            "-1/7",
        ] {
            assert_eq!(packs(nonsense, 0), None, "{nonsense:?}");
        }
    }

    #[test]
    fn days_in_a_row_take_all_parts() {
        let mut parts: Vec<String> = (100..107)
            .filter_map(|day| Some(subset("rotating/7", day * 86_400 + 5)?.name))
            .collect();
        parts.sort();
        assert_eq!(parts, ["1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"]);
    }
}

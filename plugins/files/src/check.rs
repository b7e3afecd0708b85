//! Preflight: whether each tree is there and can be listed.

use bulkhead_sdk::{Result, directory, types::Finding};

/// Looks at the top of every tree.
pub(crate) fn check() -> Result<Vec<Finding>> {
    let look = |grant: &directory::Grant| {
        let listed = directory::open(&grant.name).and_then(|folder| folder.list("")?.next().transpose());
        match listed {
            Ok(Some(_)) => Finding::info("tree-reached", format!("{} is there", grant.location)),
            Ok(None) => Finding::warning("tree-empty", format!("{} is empty: is something not mounted?", grant.location)),
            Err(error) => Finding::of_error("tree-unreadable", &error),
        }
    };
    Ok(directory::grants().iter().map(look).collect())
}

//! `bulkhead browse`: what is inside an entry (the keys of an RDB, the tables of a dump), as its plugin tells it.

use std::sync::Arc;

use bulkhead_config::Pipeline;
use bulkhead_model::{EntryPath, Fact};
use bulkhead_runtime::{BrowseRequest, Item, PluginError, Source};
use serde::Serialize;

use crate::{
    browse::{SnapshotError, open_snapshot},
    failure::{Explain, Failure, FailureClass, Site},
    host::{BuildError, pipeline_site},
    operation::{Interrupted, Operation},
    stored::VaultSnapshot,
};

/// One thing inside an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrowsedItem {
    /// "/"-separated name inside the entry.
    pub name: String,
    /// Bytes, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Further statements of the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct BrowseOptions {
    /// `latest`, or the beginning of a snapshot's id.
    pub snapshot: String,
    /// The entry.
    pub entry: EntryPath,
    /// Only names that begin like this.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
}

/// Why an entry could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum BrowseError {
    /// The source's plugin can't be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The snapshot can't be found or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The plugin failed.
    #[error("the plugin failed")]
    Plugin {
        /// The pipeline's table.
        site: Site,
        /// How.
        source: Box<PluginError>,
    },
    /// The plugin repeats itself: its listing would have no end.
    #[error("the plugin lists {name:?} after {after:?}, which is not in order")]
    OutOfOrder {
        /// The pipeline's table.
        site: Site,
        /// What it listed.
        name: String,
        /// What came before.
        after: String,
    },
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Explain for BrowseError {
    fn explain(&self) -> Failure {
        match self {
            Self::Build(error) => error.explain(),
            Self::Snapshot(error) => error.explain(),
            Self::Plugin { site, source } => Failure::of_plugin(source).at(site),
            Self::OutOfOrder { site, .. } => Failure::new(FailureClass::Plugin, self)
                .at(site)
                .hint("this is a defect in the plugin: report it to its author"),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
        }
    }
}

/// A listing in progress, a page at a time: an entry may hold millions of things.
pub struct Browsing {
    operation: Operation,
    source: Source,
    snapshot: Arc<VaultSnapshot>,
    id: String,
    site: Site,
    next: Option<BrowseRequest>,
}

/// Opens an entry of a snapshot of `pipeline` for looking into it.
///
/// # Errors
/// See [`BrowseError`].
pub async fn browse(operation: &Operation, pipeline: &Pipeline, options: BrowseOptions) -> Result<Browsing, BrowseError> {
    operation.progress.phase("opening", None);
    let loaded = operation.host.source(&operation.config, pipeline);
    let (source, _) = operation.until_interrupted(None, loaded).await??;
    let opened = open_snapshot(operation, pipeline, &options.snapshot).await?;
    let snapshot = VaultSnapshot::open(opened.reader().clone());
    let snapshot = operation.until_interrupted(None, snapshot).await?.map_err(SnapshotError::from)?;
    Ok(Browsing {
        operation: operation.clone(),
        source,
        snapshot: Arc::new(snapshot),
        id: opened.id(),
        site: pipeline_site(pipeline),
        next: Some(BrowseRequest {
            entry: options.entry,
            prefix: options.prefix,
            after: options.after,
        }),
    })
}

impl Browsing {
    /// The snapshot's id.
    #[must_use]
    pub fn snapshot(&self) -> &str {
        &self.id
    }

    /// The next items, in order; `None` after the last.
    ///
    /// # Errors
    /// See [`BrowseError`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<BrowsedItem>>, BrowseError> {
        let Some(request) = self.next.take() else { return Ok(None) };
        self.operation.progress.phase("listing", None);
        let context = self.operation.context();
        let page = self.source.browse(&context, self.snapshot.clone(), request.clone());
        let page = self
            .operation
            .until_interrupted(None, page)
            .await?
            .map_err(|error| BrowseError::Plugin {
                site: self.site.clone(),
                source: Box::new(error),
            })?;
        if let Some((name, after)) = out_of_order(request.after.as_deref(), &page) {
            return Err(BrowseError::OutOfOrder {
                site: self.site.clone(),
                name: name.to_owned(),
                after: after.to_owned(),
            });
        }
        let Some(last) = page.last() else { return Ok(None) };
        let after = Some(last.name.clone());
        self.next = Some(BrowseRequest { after, ..request });
        Ok(Some(page.into_iter().map(browsed).collect()))
    }
}

/// The first name that does not come after the one before it.
fn out_of_order<'p>(after: Option<&'p str>, page: &'p [Item]) -> Option<(&'p str, &'p str)> {
    let before = after.into_iter().chain(page.iter().map(|item| item.name.as_str()));
    let names = page.iter().map(|item| item.name.as_str());
    let names = names.skip(usize::from(after.is_none()));
    names.zip(before).find(|(name, before)| name <= before)
}

fn browsed(item: Item) -> BrowsedItem {
    BrowsedItem {
        name: item.name,
        size: item.size,
        facts: item.facts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str]) -> Vec<Item> {
        let item = |name: &&str| Item {
            name: (*name).to_owned(),
            size: None,
            facts: Vec::new(),
        };
        names.iter().map(item).collect()
    }

    #[test]
    fn a_listing_that_goes_back_is_found() {
        assert_eq!(out_of_order(None, &page(&["a", "b"])), None);
        assert_eq!(out_of_order(Some("a"), &page(&["b", "c"])), None);
        assert_eq!(out_of_order(Some("b"), &page(&["b", "c"])), Some(("b", "b")));
        assert_eq!(out_of_order(None, &page(&["a", "c", "b"])), Some(("b", "c")));
        assert_eq!(out_of_order(Some("a"), &[]), None);
    }
}

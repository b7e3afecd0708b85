//! [`Lookahead`]: folders that are read before their turn comes, since a store may be far away and a folder is one request.

use std::sync::Arc;

use crate::{error::ReadError, format::node::Node, id::ObjectId, task::Task, vault::Core};

/// A folder to be read, or being read.
pub(super) struct Load {
    tree: ObjectId,
    task: Option<Task<Vec<Node>>>,
}

impl Load {
    /// The folder stored as `tree`.
    pub(super) fn new(tree: ObjectId) -> Self {
        Self { tree, task: None }
    }
}

/// Reads folders ahead: those that are needed next, as many as the store takes requests at once. Who goes down into a folder leaves some behind that were read
/// and will be needed later, so many at most for each level of depth.
pub(super) struct Lookahead(Arc<Core>);

impl Lookahead {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Begins to read folders, given in the order in which they will be needed.
    pub(super) fn fill<'l>(&self, next: impl Iterator<Item = &'l mut Load>) {
        for load in next.take(self.0.concurrency()) {
            let (core, tree) = (&self.0, load.tree);
            load.task.get_or_insert_with(|| {
                let core = Arc::clone(core);
                Task::start(async move { core.load_tree(&tree).await })
            });
        }
    }

    /// What is in a folder.
    pub(super) async fn take(&self, mut load: Load) -> Result<Vec<Node>, ReadError> {
        match &mut load.task {
            Some(task) => task.join().await,
            None => self.0.load_tree(&load.tree).await,
        }
    }
}

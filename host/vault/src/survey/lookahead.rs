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

/// Reads folders ahead, no more at once than the store takes requests.
pub(super) struct Lookahead {
    core: Arc<Core>,
    /// Folders that were begun and not yet taken.
    begun: usize,
}

impl Lookahead {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, begun: 0 }
    }

    /// Begins to read folders, given in the order in which they will be needed.
    pub(super) fn fill<'l>(&mut self, next: impl Iterator<Item = &'l mut Load>) {
        for load in next {
            if self.begun >= self.core.concurrency() {
                return;
            }
            if load.task.is_none() {
                let (core, tree) = (Arc::clone(&self.core), load.tree);
                load.task = Some(Task::start(async move { core.load_tree(&tree).await }));
                self.begun += 1;
            }
        }
    }

    /// What is in a folder.
    pub(super) async fn take(&mut self, mut load: Load) -> Result<Vec<Node>, ReadError> {
        match &mut load.task {
            Some(task) => {
                self.begun -= 1;
                task.join().await
            }
            None => self.core.load_tree(&load.tree).await,
        }
    }
}

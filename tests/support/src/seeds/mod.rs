//! What real servers say: the inputs that mutation tests and fuzzing begin with.

mod etcd;
mod redis;

pub use etcd::{Conversations, etcd};
pub use redis::{MARK, rdb, resp};

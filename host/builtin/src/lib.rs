//! The first-party plugins, embedded in the binary.

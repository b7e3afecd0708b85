//! Black-box tests of Bulkhead live in `tests/`: they drive the built binary and real servers, and know nothing of its crates.

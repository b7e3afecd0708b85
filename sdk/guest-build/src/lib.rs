//! Builds plugins.

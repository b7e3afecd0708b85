//! The first-party plugins, embedded in the binary: one file is the whole installation.
//!
//! They are components like everybody's, and go through the same sandbox; only the way to them is shorter. `build.rs` has the list.

/// A plugin that needs no path in the TOML.
#[derive(Clone, Copy)]
pub struct BuiltinPlugin {
    /// As in `plugin = "…"`.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
}

impl std::fmt::Debug for BuiltinPlugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BuiltinPlugin({}, {} bytes)", self.name, self.wasm.len())
    }
}

/// All of them, in order of their names.
#[must_use]
pub fn plugins() -> &'static [BuiltinPlugin] {
    include!(concat!(env!("OUT_DIR"), "/plugins.rs"))
}

/// The one called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static BuiltinPlugin> {
    plugins().iter().find(|plugin| plugin.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_components_in_order() {
        assert!(plugins().is_sorted_by_key(|plugin| plugin.name));
        for plugin in plugins() {
            assert_eq!(plugin.wasm[..8], *b"\0asm\x0d\0\x01\0", "{plugin:?} is no component");
        }
        assert!(find("local").is_some());
        assert!(find("nothing").is_none());
    }
}

//! Generated from `wit/0.1`. Resources are the capabilities' own types; the sink world shares the source world's interfaces.

pub(crate) mod source_world {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1",
        world: "bulkhead:plugin/source-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "bulkhead:plugin/digest.hasher": crate::capabilities::digest::Hasher,
            "bulkhead:plugin/endpoint.connection": crate::capabilities::endpoint::Connection,
            "bulkhead:plugin/http.exchange": crate::capabilities::http::Exchange,
            "bulkhead:plugin/directory.file": crate::capabilities::directory::File,
            "bulkhead:plugin/directory.folder": crate::capabilities::directory::Folder,
            "bulkhead:plugin/directory.listing": crate::capabilities::directory::Listing,
            "bulkhead:plugin/entries.writer": crate::capabilities::entries::EntryWriter,
            "bulkhead:plugin/snapshot.walk": crate::capabilities::snapshot::Walk,
            "bulkhead:plugin/snapshot.reader": crate::capabilities::snapshot::Reader,
            "bulkhead:plugin/parts.part": crate::parts::Part,
        },
    });
}

pub(crate) mod sink_world {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1",
        world: "bulkhead:plugin/sink-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "bulkhead:plugin/types": super::source_world::bulkhead::plugin::types,
            "bulkhead:plugin/log": super::source_world::bulkhead::plugin::log,
            "bulkhead:plugin/progress": super::source_world::bulkhead::plugin::progress,
            "bulkhead:plugin/digest": super::source_world::bulkhead::plugin::digest,
            "bulkhead:plugin/secrets": super::source_world::bulkhead::plugin::secrets,
            "bulkhead:plugin/endpoint": super::source_world::bulkhead::plugin::endpoint,
            "bulkhead:plugin/http": super::source_world::bulkhead::plugin::http,
            "bulkhead:plugin/directory": super::source_world::bulkhead::plugin::directory,
            "bulkhead:plugin/content.reader": crate::capabilities::content::ContentReader,
            "bulkhead:plugin/content.writer": crate::capabilities::content::ContentWriter,
        },
    });
}

//! The component's side: bindings generated from `wit/`, the imports as a [`Host`], and the exports driven by an [`Instance`].
//!
//! Thin on purpose: it only translates types, so that what tests cover natively is nearly all there is.

mod convert;
mod host;

use std::{any::Any, cell::RefCell, io, marker::PhantomData};

use crate::{
    Error, ErrorKind,
    host::{Host, MAX_TRANSFER},
    sink::{ObjectReader, ObjectWriter, Sink},
    source::{BrowseRequest, Instance, RenderRequest, Source},
};

/// Bindings of the world `source-plugin`.
#[doc(hidden)]
pub mod source_bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1",
        world: "source-plugin",
        pub_export_macro: true,
        export_macro_name: "export_source_component",
        default_bindings_module: "bulkhead_sdk::wasm::source_bindings",
    });
}

/// Bindings of the world `sink-plugin`; what it shares with the other world is that one's.
#[doc(hidden)]
pub mod sink_bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1",
        world: "sink-plugin",
        pub_export_macro: true,
        export_macro_name: "export_sink_component",
        default_bindings_module: "bulkhead_sdk::wasm::sink_bindings",
        with: {
            "bulkhead:plugin/types@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::types,
            "bulkhead:plugin/log@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::log,
            "bulkhead:plugin/progress@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::progress,
            "bulkhead:plugin/digest@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::digest,
            "bulkhead:plugin/secrets@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::secrets,
            "bulkhead:plugin/endpoint@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::endpoint,
            "bulkhead:plugin/http@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::http,
            "bulkhead:plugin/directory@0.1.0": crate::wasm::source_bindings::bulkhead::plugin::directory,
        },
    });
}

use sink_bindings::exports::bulkhead::plugin::sink as sink_abi;
use source_bindings::{bulkhead::plugin::types as abi, exports::bulkhead::plugin::source as source_abi};

/// Calls the host.
pub(crate) fn with_host<T>(call: impl FnOnce(&dyn Host) -> T) -> T {
    call(&host::Imports)
}

thread_local! {
    /// The plugin of this instance, an `Instance<P>`. A component has one thread.
    static PLUGIN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Runs `body` on the plugin, which is made empty at first.
fn with_plugin<P: 'static, T>(body: impl FnOnce(&mut Instance<P>) -> crate::Result<T>) -> Result<T, abi::Error> {
    PLUGIN
        .with_borrow_mut(|slot| {
            let plugin = slot.get_or_insert_with(|| Box::new(Instance::<P>::default()));
            let plugin = plugin
                .downcast_mut()
                .ok_or_else(|| Error::new(ErrorKind::Internal, "two plugins were exported from one component"))?;
            body(plugin)
        })
        .map_err(Into::into)
}

/// The exports of a source.
#[doc(hidden)]
pub struct SourceGuest<P>(PhantomData<P>);

impl<P: Source + 'static> source_abi::Guest for SourceGuest<P> {
    fn describe() -> abi::Description {
        convert::description(P::describe(), &schemars::schema_for!(P::Config))
    }

    fn configure(config: String) -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.configure(&config))
    }

    fn check() -> Result<Vec<abi::Finding>, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(convert::all(instance.plugin()?.check()?)))
    }

    fn backup(request: source_abi::BackupRequest) -> Result<source_abi::BackupResult, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(instance.plugin()?.backup(request.into())?.into()))
    }

    fn restore(request: source_abi::RestoreRequest) -> Result<source_abi::RestoreResult, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(instance.plugin()?.restore(request.into())?.into()))
    }

    fn run_part(work: Vec<u8>) -> Result<Vec<u8>, abi::Error> {
        with_plugin::<P, _>(|instance| instance.plugin()?.run_part(work))
    }

    fn verify() -> Result<Vec<abi::Finding>, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(convert::all(instance.plugin()?.verify()?)))
    }

    fn browse(entry: Vec<u8>, prefix: String, after: Option<String>) -> Result<Vec<source_abi::Item>, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(convert::all(instance.plugin()?.browse(BrowseRequest { entry, prefix, after })?)))
    }

    fn render(request: source_abi::RenderRequest, into: &source_abi::Writer) -> Result<(), abi::Error> {
        let source_abi::RenderRequest { format, paths } = request;
        with_plugin::<P, _>(|instance| instance.plugin()?.render(RenderRequest { format, paths }, &mut Lent(into)))
    }
}

/// What the host lends to write to.
struct Lent<'a>(&'a source_abi::Writer);

impl io::Write for Lent<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let piece = &data[..data.len().min(MAX_TRANSFER)];
        self.0.write(piece).map_err(Error::from)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The exports of a sink.
#[doc(hidden)]
pub struct SinkGuest<P>(PhantomData<P>);

impl<P: Sink + 'static> sink_abi::Guest for SinkGuest<P> {
    fn describe() -> abi::Description {
        convert::description(P::describe(), &schemars::schema_for!(P::Config))
    }

    fn configure(config: String) -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.configure_sink(&config))
    }

    fn check() -> Result<Vec<abi::Finding>, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(convert::all(instance.plugin()?.check()?)))
    }

    fn get_traits() -> Result<sink_abi::Traits, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(instance.plugin()?.traits()?.into()))
    }

    fn initialize() -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.plugin()?.initialize())
    }

    fn put(key: String, body: &sink_abi::Reader, options: sink_abi::PutOptions) -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.plugin()?.put(&key, &mut ObjectReader::new(body), options.into()))
    }

    fn get(key: String, range: Option<sink_abi::ByteRange>, into: &sink_abi::Writer) -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.plugin()?.get(&key, range.map(Into::into), &mut ObjectWriter::new(into)))
    }

    fn list(prefix: String, page: Option<String>) -> Result<sink_abi::Page, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(instance.plugin()?.list(&prefix, page.as_deref())?.into()))
    }

    fn stat(key: String) -> Result<Option<sink_abi::Object>, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(instance.plugin()?.stat(&key)?.map(Into::into)))
    }

    fn delete(key: String) -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.plugin()?.delete(&key))
    }

    fn extend_lock(key: String, until: abi::Timestamp) -> Result<(), abi::Error> {
        with_plugin::<P, _>(|instance| instance.plugin()?.extend_lock(&key, until.into()))
    }

    fn locked_until(key: String) -> Result<Option<abi::Timestamp>, abi::Error> {
        with_plugin::<P, _>(|instance| Ok(instance.plugin()?.locked_until(&key)?.map(Into::into)))
    }
}

/// Makes a component of a [`Source`].
#[macro_export]
macro_rules! export_source {
    ($plugin:ty) => {
        const _: () = {
            type Guest = $crate::wasm::SourceGuest<$plugin>;
    $crate::wasm::source_bindings::export_source_component!(Guest with_types_in $crate::wasm::source_bindings);
        };
    };
}

/// Makes a component of a [`Sink`].
#[macro_export]
macro_rules! export_sink {
    ($plugin:ty) => {
        const _: () = {
            type Guest = $crate::wasm::SinkGuest<$plugin>;
    $crate::wasm::sink_bindings::export_sink_component!(Guest with_types_in $crate::wasm::sink_bindings);
        };
    };
}

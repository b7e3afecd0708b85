//! The engine's configuration, and the clock that makes guests give way.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine};

use crate::RuntimeError;

/// How often a running guest gives way: cancellation, wall clock and processor time are seen within it.
const TICK: Duration = Duration::from_millis(5);
/// Stack of a guest. Rust's own threads have 2 MiB; recursion deeper than this is a defect.
const GUEST_STACK: usize = 1 << 20;
/// Stack of a fiber: the guest's and the host functions' that it calls, a TLS handshake among them. Virtual memory until it is used.
const FIBER_STACK: usize = 3 << 20;

/// An engine for plugins.
pub(crate) fn engine() -> Result<Engine, RuntimeError> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Guests run on fibers with synchronous signatures; the machinery of component-model async only costs time and attack surface.
        .concurrency_support(false)
        .epoch_interruption(true)
        // Its results differ between processors; what a backup contains must not.
        .wasm_relaxed_simd(false)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(FIBER_STACK);
    Engine::new(&config).map_err(|error| RuntimeError::Engine(format!("{error:#}")))
}

/// The thread that advances the engine's epoch. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Clock {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Clock {
    pub(crate) fn start(engine: Engine) -> Result<Self, RuntimeError> {
        let (stop, stopped) = mpsc::channel();
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("plugin-clock".to_owned()).spawn(tick);
        let thread = thread.map_err(|error| RuntimeError::Engine(format!("no thread for its clock: {error}")))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and waits for nothing but the channel.
            let _ = thread.join();
        }
    }
}

//! What the platform offers, in a browser or in Node: a clock, turns of the event loop, and perhaps WebGPU.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since some fixed moment, and parts of them; `now` counts whole ones.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub fn exact_now() -> f64;
}

/// Milliseconds since some fixed moment.
pub(super) fn now() -> f64 {
    js_sys::Date::now()
}

/// A browser does not say.
pub fn cpu_seconds() -> Option<f64> {
    None
}

/// Returns in a later turn of the event loop, so that messages that have come meanwhile are handled first. A promise
/// that is already resolved would come before them, and `setTimeout` waits for milliseconds after a few turns.
pub(super) async fn let_others_run() {
    let _ = JsFuture::from(Promise::new(&mut |resolve, _| {
        if post(&resolve).is_none() {
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    }))
    .await;
}

/// Calls `resolve` when a message to ourselves has arrived.
fn post(resolve: &Function) -> Option<()> {
    let global = js_sys::global();
    let channel: Function = Reflect::get(&global, &"MessageChannel".into()).ok()?.dyn_into().ok()?;
    let channel = Reflect::construct(&channel, &js_sys::Array::new()).ok()?;
    let port = |name: &str| Reflect::get(&channel, &name.into()).ok();
    let (here, there) = (port("port1")?, port("port2")?);
    let arrived = Closure::once_into_js({
        let (here, resolve) = (here.clone(), resolve.clone());
        move || {
            let close = Reflect::get(&here, &"close".into()).ok().and_then(|close| close.dyn_into::<Function>().ok());
            // An open port keeps Node alive.
            let _ = close.map(|close| close.call0(&here));
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    });
    Reflect::set(&here, &"onmessage".into(), &arrived).ok()?;
    let send: Function = Reflect::get(&there, &"postMessage".into()).ok()?.dyn_into().ok()?;
    send.call1(&there, &JsValue::NULL).ok()?;
    Some(())
}

/// Whether wgpu can be asked for a card: outside pages and their workers, and without `navigator.gpu`, it panics.
pub(super) fn has_webgpu() -> bool {
    let global = js_sys::global();
    let is_in_browser =
        ["Window", "WorkerGlobalScope"].iter().any(|&name| Reflect::has(&global, &name.into()) == Ok(true));
    let found = Reflect::get(&global, &"navigator".into()).and_then(|it| Reflect::get(&it, &"gpu".into()));
    is_in_browser && found.is_ok_and(|gpu| !gpu.is_undefined() && !gpu.is_null())
}

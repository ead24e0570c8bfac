//! Lets a browser compile pipelines side by side. wgpu asks for them with `createComputePipeline`, which compiles one
//! after the other; `createComputePipelineAsync` compiles as many at once as the machine has cores. So wgpu's own
//! request is intercepted and made asynchronously instead; when wgpu repeats the request, it gets the finished
//! pipeline.
//!
//! This is the only file outside `web` that knows JavaScript, because wgpu has no asynchronous form of its own.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// A pipeline that the browser is compiling.
pub struct Ahead {
    under_way: Option<JsFuture>,
    compiled: Option<JsValue>,
}

impl Ahead {
    /// Starts compiling what `create` asks wgpu for. The result of `create` is discarded.
    pub fn start(device: &wgpu::Device, create: impl FnOnce()) -> Ahead {
        let start = || {
            let device: &JsValue = device.as_webgpu()?.unchecked_ref();
            let create_async: Function =
                Reflect::get(device, &"createComputePipelineAsync".into()).ok()?.dyn_into().ok()?;
            let asked = Rc::new(RefCell::new(None));
            let caught = asked.clone();
            let catch = move |descriptor| {
                caught.replace(Some(descriptor));
                Object::new().into()
            };
            instead(device, catch, create);
            let promise: Promise = create_async.call1(device, &asked.take()?).ok()?.dyn_into().ok()?;
            // Attach the handlers at once: a promise that is rejected before anything awaits it would end the worker.
            Some(JsFuture::from(promise))
        };
        Ahead { under_way: start(), compiled: None }
    }

    pub async fn wait(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            self.compiled = under_way.await.ok();
        }
    }

    /// Gives `create` the pipeline. If there is none, `create` asks wgpu as usual, which reports why the browser
    /// refused.
    pub fn hand_over(self, device: &wgpu::Device, create: impl FnOnce()) {
        match (self.compiled, device.as_webgpu()) {
            (Some(pipeline), Some(device)) => instead(device.unchecked_ref(), move |_| pipeline.clone(), create),
            _ => create(),
        }
    }
}

/// Runs `act` while this device's `createComputePipeline` is replaced by `answer`.
fn instead(device: &JsValue, answer: impl FnMut(JsValue) -> JsValue + 'static, act: impl FnOnce()) {
    let name = "createComputePipeline".into();
    let answer = Closure::<dyn FnMut(JsValue) -> JsValue>::new(answer);
    let shadowed = Reflect::set(device, &name, answer.as_ref()).is_ok();
    act();
    if shadowed {
        let _ = Reflect::delete_property(device.unchecked_ref::<Object>(), &name);
    }
}

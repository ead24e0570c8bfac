//! What `ahead_web.rs` is in a browser. Natively wgpu compiles a pipeline when it is asked for it.

pub struct Ahead;

impl Ahead {
    pub fn start(_: &wgpu::Device, _: impl FnOnce()) -> Ahead {
        Ahead
    }

    pub async fn wait(&mut self) {}

    pub fn hand_over(self, _: &wgpu::Device, create: impl FnOnce()) {
        create();
    }
}

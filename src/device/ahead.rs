//! The native counterpart of `ahead_web.rs`: wgpu compiles a pipeline when it is asked for one, so nothing runs ahead.

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

//! What a driver's compiler makes of the kernels of a training step on a card: registers, spills, and the share of
//! multiply-adds in what the hottest loop issues. Mesa compiles for AMD cards that are not there: `make codegen`.
#![allow(unsafe_code, reason = "Vulkan without wgpu, which cannot make a device of hardware that is not there")]

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;

use ash::vk;
use tabtune::adapter::{Adapter, AdapterSpec};
use tabtune::device::{Access, Device, Format, KernelKey, Shape};
use tabtune::model::{Config, Transformer};
use tabtune::train::{Trainer, TrainerSettings};
use wgpu::naga;

const SMOLLM2: &[u8] = include_bytes!("../../src/bin/tabtune/bench/shapes/smollm2-135m.json");

/// The kernels of a step of 4 x 512 tokens.
fn kernels() -> BTreeSet<KernelKey> {
    let device = Device::dry(Shape::Tiled);
    let base =
        Transformer::zeros(&device, Config::parse(SMOLLM2).expect("a config"), &|_| Format::F32).expect("a model");
    let spec = AdapterSpec::new(&base.config, 8, 16.0, "all-linear").expect("a spec");
    let adapter = Adapter::new(&device, &base.config, spec).expect("an adapter");
    let draft = Trainer::record(&adapter.attach(&base), &adapter.params(), TrainerSettings::new(4, 512));
    draft.expect("plans").recorders().iter().flat_map(|recorder| recorder.kernels()).collect()
}

/// As wgpu compiles for a device whose hardware checks accesses to buffers.
fn spirv(key: &KernelKey) -> Vec<u32> {
    use naga::back::spv;
    use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
    let module = naga::front::wgsl::parse_str(&key.wgsl()).unwrap_or_else(|error| panic!("{}: {error}", key.label()));
    let all = naga::valid::Capabilities::all();
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), all).validate(&module).expect("valid");
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer: BoundsCheckPolicy::Unchecked,
            ..Default::default()
        },
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(&module, &info, &options, Some(&entry)).expect("SPIR-V")
}

struct Driver {
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
}

/// What became of a kernel: numbers by the driver's names for them, and its instructions.
struct Compiled {
    numbers: HashMap<String, u64>,
    assembly: String,
}

impl Driver {
    /// Nothing that is made here is given back: the process ends after it.
    fn new() -> Driver {
        // SAFETY: plain use of Vulkan, with objects that live until the process ends.
        unsafe {
            let entry = ash::Entry::load().expect("Vulkan's loader: `make codegen` installs it");
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&instance, None).expect("an instance");
            let devices = instance.enumerate_physical_devices().expect("devices");
            let name = |device: &vk::PhysicalDevice| {
                let properties = instance.get_physical_device_properties(*device);
                properties.device_name_as_c_str().unwrap_or_default().to_string_lossy().into_owned()
            };
            let found = devices.iter().find(|device| name(device).contains("RADV"));
            let physical = *found.expect("Mesa's driver for AMD cards, with RADV_FORCE_FAMILY: `make codegen` sets it");
            println!("{}", name(&physical));
            let extensions = [ash::khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut info =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut memory = vk::PhysicalDeviceVulkan12Features::default()
                .vulkan_memory_model(true)
                .vulkan_memory_model_device_scope(true);
            let features = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .enabled_features(&features)
                .push_next(&mut info)
                .push_next(&mut memory);
            let device = instance.create_device(physical, &create, None).expect("a device");
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Driver { device, executables }
        }
    }

    fn compile(&self, key: &KernelKey) -> Compiled {
        let code = spirv(key);
        let binding = |(i, access): (usize, &Access)| {
            let kind = match access {
                Access::Uniform => vk::DescriptorType::UNIFORM_BUFFER,
                Access::Read | Access::ReadWrite => vk::DescriptorType::STORAGE_BUFFER,
            };
            let binding = vk::DescriptorSetLayoutBinding::default().binding(i as u32).descriptor_type(kind);
            binding.descriptor_count(1).stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = key.module().bindings.iter().enumerate().map(binding).collect();
        // SAFETY: as in `new`; the pointers that Vulkan writes through point to vectors of the sizes that it asked for.
        unsafe {
            let module = vk::ShaderModuleCreateInfo::default().code(&code);
            let module = self.device.create_shader_module(&module, None).expect("a module");
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [self.device.create_descriptor_set_layout(&set, None).expect("a layout")];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let create = vk::ComputePipelineCreateInfo::default()
                .flags(flags)
                .layout(self.device.create_pipeline_layout(&layout, None).expect("a layout"))
                .stage(stage);
            let made = self.device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let executable = vk::PipelineExecutableInfoKHR::default().pipeline(made.expect("a pipeline")[0]);
            let statistics = self.executables.get_pipeline_executable_statistics(&executable).expect("statistics");
            let name = |name: &[std::ffi::c_char]| CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
            let numbers = statistics.iter().map(|found| (name(&found.name), found.value.u64)).collect();
            Compiled { numbers, assembly: self.assembly(&executable) }
        }
    }

    /// The last of the forms that the driver shows.
    unsafe fn assembly(&self, executable: &vk::PipelineExecutableInfoKHR) -> String {
        let list = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let (device, mut count) = (self.device.handle(), 0);
        // SAFETY: as Vulkan describes it: first how many, then how large, then what.
        unsafe {
            let _ = list(device, executable, &mut count, std::ptr::null_mut());
            let mut forms = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            let _ = list(device, executable, &mut count, forms.as_mut_ptr());
            let mut texts: Vec<Vec<u8>> = forms.iter().map(|form| vec![0; form.data_size]).collect();
            for (form, text) in forms.iter_mut().zip(&mut texts) {
                form.p_data = text.as_mut_ptr().cast();
            }
            let _ = list(device, executable, &mut count, forms.as_mut_ptr());
            texts.pop().map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
        }
    }
}

/// Of the block with the most multiply-adds: how many there are, and the vector instructions in all.
fn hottest(assembly: &str) -> (usize, usize) {
    let count = |block: &str| {
        let instructions = block.lines().filter(|line| line.starts_with('\t'));
        let parts = instructions.flat_map(|line| line.split(';').next().unwrap_or_default().split("::"));
        let names = parts.filter_map(|part| part.split_whitespace().next()).filter(|name| !name.starts_with("s_"));
        let is_product = |name: &&str| ["fma", "mul_f32", "add_f32"].iter().any(|part| name.contains(part));
        let names: Vec<&str> = names.collect();
        (names.iter().filter(|name| is_product(name)).count(), names.len())
    };
    assembly.split("\nBB").map(count).max().unwrap_or_default()
}

/// Prints a line for each kernel, and refuses registers in memory and loops that issue much besides multiply-adds.
#[test]
#[ignore = "`make codegen` runs it"]
fn what_a_compiler_makes_of_the_kernels() {
    let driver = Driver::new();
    println!("registers  spilled  LDS bytes  waves  code bytes  multiply-adds of the hottest loop");
    let mut wrong = Vec::new();
    for key in kernels() {
        let Compiled { numbers, assembly } = driver.compile(&key);
        let of = |name: &str| numbers.get(name).copied().unwrap_or_else(|| panic!("no `{name}` in {numbers:?}"));
        let (products, all) = hottest(&assembly);
        let share = products as f64 / all.max(1) as f64;
        let tile = key.constants.iter().filter(|(name, _)| ["TILE_M", "TILE_N", "DEPTH"].contains(name));
        let tile: Vec<String> = tile.map(|(name, value)| format!(" {name}={value}")).collect();
        let name = key.label() + &tile.concat();
        println!(
            "{:9}  {:7}  {:9}  {:5}  {:10}  {products:4} of {all:4}, {:3.0} %  {name}",
            of("VGPRs"),
            of("Spilled VGPRs"),
            of("LDS size"),
            of("Subgroups per SIMD"),
            of("Code size"),
            100.0 * share,
        );
        let least = match key.kernel {
            "matmul" => 0.85,
            kernel if kernel.starts_with("attention") => 0.8,
            _ => 0.0,
        };
        if of("Spilled VGPRs") > 0 || share < least {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

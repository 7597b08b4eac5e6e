//! Which device computes, why, and how much memory it has.
use super::{
    error::LoadError,
    memory::{self, Room},
};
use candle_core::Device;
use candlepower_api::{server_config, value::ByteSize};

/// The device for `wanted`, and why it is this one.
pub fn open(wanted: server_config::Device) -> Result<(Device, &'static str), LoadError> {
    choose(wanted, candle_core::utils::cuda_is_available(), &|| {
        Device::new_cuda(0)
    })
}

/// Decides for a build with CUDA or without. `gpu` opens the first GPU.
fn choose(
    wanted: server_config::Device,
    built_for_cuda: bool,
    gpu: &dyn Fn() -> candle_core::Result<Device>,
) -> Result<(Device, &'static str), LoadError> {
    use server_config::Device as Wanted;
    match wanted {
        Wanted::Cpu => Ok((Device::Cpu, "it was asked for")),
        Wanted::Auto if !built_for_cuda => Ok((Device::Cpu, "this build computes on CPUs only")),
        Wanted::Cuda if !built_for_cuda => Err(LoadError::InvalidConfiguration(
            "engine.device is cuda, but this build computes on CPUs only: use the image for CUDA, or set engine.device to auto or cpu".to_owned(),
        )),
        Wanted::Cuda => match gpu() {
            Ok(device) => Ok((device, "it was asked for")),
            Err(error) => Err(LoadError::InvalidConfiguration(format!(
                "engine.device is cuda, but no GPU can be used ({error}): give the pod a GPU with resources.gpus, or set engine.device to auto or cpu"
            ))),
        },
        Wanted::Auto => match gpu() {
            Ok(device) => Ok((device, "the process sees a GPU")),
            Err(error) => {
                tracing::warn!(%error, "this build is for GPUs, but none can be used");
                Ok((Device::Cpu, "no GPU can be used"))
            }
        },
    }
}

/// The name of `device` in metrics and status.
pub const fn name(device: &Device) -> &'static str {
    match device {
        Device::Cuda(_) => "cuda",
        _ => "cpu",
    }
}

/// The memory that a model may use on `device`; `configured` limits the process's.
pub fn room(device: &Device, configured: Option<ByteSize>) -> Result<Room, LoadError> {
    #[cfg(candlepower_cuda)]
    if let Device::Cuda(gpu) = device {
        return gpu_room(gpu);
    }
    let _ = device;
    let limit = memory::limit();
    Ok(Room::Process(
        configured.map_or(limit, |own| own.min(limit)),
    ))
}

#[cfg(candlepower_cuda)]
fn gpu_room(gpu: &candle_core::CudaDevice) -> Result<Room, LoadError> {
    use candle_core::cuda::WrapErr;
    let stream = gpu.cuda_stream();
    let (free, _total) = stream.context().mem_get_info().w()?;
    Ok(Room::Gpu(ByteSize::new(free as u64)))
}

/// Logs what was decided.
pub fn report(device: &Device, reason: &str, room: Room) {
    tracing::info!(
        device = name(device),
        reason,
        memory = room.size().human(),
        "device"
    );
    if device.is_cuda() && !cfg!(candlepower_flash_attention) {
        tracing::warn!(
            "this build has no flash-attention kernels: attention on the GPU is computed by tensors, one sequence after the other"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use server_config::Device as Wanted;

    type Open = fn() -> candle_core::Result<Device>;
    const NO_GPU: Open = || candle_core::bail!("no CUDA-capable device is detected");
    /// Stands for any device that opens.
    const GPU: Open = || Ok(Device::Cpu);

    fn reason(wanted: Wanted, built: bool, gpu: Open) -> String {
        match choose(wanted, built, &gpu) {
            Ok((_, reason)) => reason.to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn automatic_takes_a_gpu_where_there_is_one_and_the_build_knows_it() {
        assert_eq!(reason(Wanted::Auto, true, GPU), "the process sees a GPU");
        assert_eq!(reason(Wanted::Auto, true, NO_GPU), "no GPU can be used");
        assert_eq!(
            reason(Wanted::Auto, false, GPU),
            "this build computes on CPUs only"
        );
    }

    #[test]
    fn a_gpu_that_was_asked_for_and_is_missing_refuses_the_model_with_the_cure() {
        let missing = reason(Wanted::Cuda, true, NO_GPU);
        for part in ["no CUDA-capable device", "resources.gpus"] {
            assert!(missing.contains(part), "{missing} lacks {part}");
        }
        let built = reason(Wanted::Cuda, false, GPU);
        assert!(built.contains("use the image for CUDA"), "{built}");
        assert_eq!(reason(Wanted::Cuda, true, GPU), "it was asked for");
    }

    #[test]
    fn the_processes_memory_is_the_smaller_of_both_limits() {
        let small = ByteSize::mebibytes(1);
        assert_eq!(
            room(&Device::Cpu, Some(small)).unwrap(),
            Room::Process(small)
        );
        let machine = room(&Device::Cpu, None).unwrap();
        assert_eq!(
            room(&Device::Cpu, Some(ByteSize::new(u64::MAX))).unwrap(),
            machine
        );
    }
}

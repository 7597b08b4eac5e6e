//! What NVIDIA's GPUs say about themselves, asked by NVML at each scrape. Without the library, and
//! for questions that a GPU does not answer, there are no series.
use super::family::{Sample, gauges};
use candlepower_api::names::metrics as names;
use nvml_wrapper::{Device, Nvml, enum_wrappers::device::TemperatureSensor};
use prometheus::proto::MetricFamily;
use std::ffi::OsStr;

/// Names the library where it is not where the system finds it.
const LIBRARY: &str = "NVML_LIBRARY";
/// The name under which the driver's containers and packages have it.
const USUAL: &str = "libnvidia-ml.so.1";

/// The GPUs of this machine; none where there is no library.
#[derive(Debug, Default)]
pub struct Gpus(Option<Nvml>);

/// What one GPU answered; nothing where it does not support the question.
#[derive(Debug, Default)]
struct Answers {
    name: Option<String>,
    uuid: Option<String>,
    utilization: Option<f64>,
    memory_activity: Option<f64>,
    used: Option<f64>,
    free: Option<f64>,
    total: Option<f64>,
    celsius: Option<f64>,
    watts: Option<f64>,
}

impl Gpus {
    /// Loads the library, and says in the log what came of it.
    pub fn find() -> Self {
        let path = std::env::var_os(LIBRARY).filter(|path| !path.is_empty());
        Self::with_library(path.as_deref().unwrap_or(OsStr::new(USUAL)))
    }

    /// Loads the library at `path`.
    pub fn with_library(path: &OsStr) -> Self {
        match Nvml::builder().lib_path(path).init() {
            Ok(nvml) => {
                let gpus = nvml.device_count().unwrap_or(0);
                tracing::info!(gpus, "GPU metrics are read by NVML");
                Self(Some(nvml))
            }
            Err(error) => {
                tracing::info!(%error, "no NVML library: there are no GPU metrics");
                Self(None)
            }
        }
    }

    /// The series at this moment.
    pub fn families(&self) -> Vec<MetricFamily> {
        let Some(nvml) = &self.0 else {
            return Vec::new();
        };
        let answers: Vec<_> = (0..nvml.device_count().unwrap_or(0))
            .map(|index| {
                let device = nvml.device_by_index(index);
                device.map_or_else(|_| Answers::default(), |device| ask(&device))
            })
            .collect();
        let driver = nvml.sys_driver_version().unwrap_or_default();
        series(&answers, &driver)
    }
}

fn ask(device: &Device) -> Answers {
    let utilization = device.utilization_rates().ok();
    let memory = device.memory_info().ok();
    let temperature = device.temperature(TemperatureSensor::Gpu);
    Answers {
        name: device.name().ok(),
        uuid: device.uuid().ok(),
        utilization: utilization
            .as_ref()
            .map(|found| f64::from(found.gpu) / 100.0),
        memory_activity: utilization.map(|found| f64::from(found.memory) / 100.0),
        used: memory.as_ref().map(|found| found.used as f64),
        free: memory.as_ref().map(|found| found.free as f64),
        total: memory.map(|found| found.total as f64),
        celsius: temperature.ok().map(f64::from),
        watts: device
            .power_usage()
            .ok()
            .map(|milli| f64::from(milli) / 1e3),
    }
}

type Question = (&'static str, &'static str, fn(&Answers) -> Option<f64>);

const QUESTIONS: [Question; 7] = [
    (
        names::GPU_UTILIZATION,
        "Share of time in which a kernel ran.",
        |gpu| gpu.utilization,
    ),
    (
        names::GPU_MEMORY_ACTIVITY,
        "Share of time in which the memory controller worked.",
        |gpu| gpu.memory_activity,
    ),
    (names::GPU_MEMORY_USED, "Memory in use.", |gpu| gpu.used),
    (names::GPU_MEMORY_FREE, "Memory not in use.", |gpu| gpu.free),
    (names::GPU_MEMORY_TOTAL, "All memory.", |gpu| gpu.total),
    (names::GPU_TEMPERATURE, "Temperature of the GPU.", |gpu| {
        gpu.celsius
    }),
    (names::GPU_POWER, "Power drawn.", |gpu| gpu.watts),
];

fn series(gpus: &[Answers], driver: &str) -> Vec<MetricFamily> {
    let info = gpus.iter().enumerate().filter_map(|(index, gpu)| {
        let labels = vec![
            ("driver", driver.to_owned()),
            (names::LABEL_GPU, index.to_string()),
            ("name", gpu.name.clone()?),
            ("uuid", gpu.uuid.clone().unwrap_or_default()),
        ];
        Some((labels, 1.0))
    });
    let info = gauges(
        names::GPU_INFO,
        "Always 1: the GPU, in its labels.",
        info.collect(),
    );
    let figures = QUESTIONS.iter().filter_map(|(name, help, pick)| {
        let samples: Vec<Sample<'_>> = gpus
            .iter()
            .enumerate()
            .filter_map(|(index, gpu)| {
                Some((vec![(names::LABEL_GPU, index.to_string())], pick(gpu)?))
            })
            .collect();
        gauges(name, help, samples)
    });
    info.into_iter().chain(figures).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;
    use std::{path::Path, process::Command};

    #[test]
    fn without_the_library_there_is_no_series() {
        let gpus = Gpus::with_library(OsStr::new("/no/such/libnvidia-ml.so"));
        assert_eq!(gpus.families(), []);
    }

    #[test]
    fn two_gpus_tell_what_they_support() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libnvidia-ml.so.1");
        let source = Path::new("tests/nvml/nvml.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([library.as_path(), source])
            .status();
        assert!(built.unwrap().success());
        let families = Gpus::with_library(library.as_os_str()).families();
        let text = TextEncoder::new().encode_to_string(&families).unwrap();
        for line in [
            "llm_gpu_info{driver=\"570.00.01\",gpu=\"0\",name=\"Stand-in H100 80GB\",uuid=\"GPU-00000000-0000-0000-0000-000000000000\"} 1",
            "llm_gpu_utilization_ratio{gpu=\"0\"} 0.87",
            "llm_gpu_utilization_ratio{gpu=\"1\"} 0.12",
            "llm_gpu_memory_controller_utilization_ratio{gpu=\"0\"} 0.42",
            "llm_gpu_memory_used_bytes{gpu=\"0\"} 64424509440",
            "llm_gpu_memory_free_bytes{gpu=\"0\"} 21474836480",
            "llm_gpu_memory_total_bytes{gpu=\"1\"} 85899345920",
            "llm_gpu_temperature_celsius{gpu=\"1\"} 41",
            "llm_gpu_power_watts{gpu=\"0\"} 412.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(
            !text.contains("llm_gpu_power_watts{gpu=\"1\"}"),
            "not supported"
        );
    }
}

//! What is read about a model, its server and the machine; nothing here is typed in by people.
use super::{
    exposition::Sample,
    http::{self, Server},
};
use candlepower_api::{
    benchmark::job::NodeFacts,
    names::{metrics, paths},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// The served model.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelFacts {
    /// The name that requests use.
    pub name: String,
    /// The architecture that the weights declare.
    pub architecture: Option<String>,
    /// The precision of the weights.
    pub precision: Option<String>,
    /// `cpu` or `cuda`.
    pub device: Option<String>,
    /// Which version of the weights.
    pub revision: Option<String>,
    /// Bytes of the weights in memory.
    pub weights_bytes: Option<u64>,
    /// Longest sequence in tokens.
    pub context_length: Option<u64>,
    /// Bytes that one token takes in the KV cache.
    pub kv_bytes_per_token: Option<u64>,
}

/// What a metrics page of ours says about the model.
pub(super) fn model_facts(page: &[Sample]) -> Option<ModelFacts> {
    let find = |name: &str| page.iter().find(|sample| sample.name == name);
    let info = find(metrics::MODEL_INFO)?;
    let label = |name| {
        let text = info.label(name).filter(|text| !text.is_empty());
        text.map(ToOwned::to_owned)
    };
    let whole = |name| {
        let value = find(name)?.value;
        // Bytes and tokens are positive and below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let value = value as u64;
        (value > 0).then_some(value)
    };
    Some(ModelFacts {
        name: label(metrics::LABEL_MODEL_NAME).unwrap_or_default(),
        architecture: label(metrics::LABEL_ARCHITECTURE),
        precision: label(metrics::LABEL_PRECISION),
        device: label(metrics::LABEL_DEVICE),
        revision: label(metrics::LABEL_REVISION),
        weights_bytes: whole(metrics::MODEL_WEIGHTS_BYTES),
        context_length: whole(metrics::MODEL_CONTEXT_LENGTH),
        kv_bytes_per_token: whole(metrics::MODEL_KV_BYTES_PER_TOKEN),
    })
}

/// Bits that a weight takes in memory, scales included.
pub fn bits_per_weight(precision: &str) -> Option<f64> {
    Some(match precision.to_ascii_lowercase().as_str() {
        "f32" => 32.0,
        "f16" | "bf16" => 16.0,
        "q8_0" => 8.5,
        "q6_k" => 6.5625,
        "q5_k" => 5.5,
        "q4_1" => 5.0,
        "q4_0" | "q4_k" => 4.5,
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    owned_by: Option<String>,
    #[serde(default)]
    max_model_len: Option<u64>,
}

/// What `/v1/models` says about `model`, and who serves it.
pub async fn listed(server: &Server, model: &str) -> Result<(ModelFacts, Option<String>), String> {
    let answer = server.get_ok(paths::MODELS).await;
    let answer = answer.map_err(|error: http::Error| error.to_string())?;
    read_listed(&answer, model)
}

fn read_listed(answer: &[u8], model: &str) -> Result<(ModelFacts, Option<String>), String> {
    let models: Models = serde_json::from_slice(answer)
        .map_err(|error| format!("{} is not OpenAI's model list: {error}", paths::MODELS))?;
    let found = models.data.into_iter().find(|one| one.id == model);
    let found = found.ok_or_else(|| format!("{} does not list {model}", paths::MODELS))?;
    let facts = ModelFacts {
        name: found.id,
        context_length: found.max_model_len,
        ..ModelFacts::default()
    };
    Ok((facts, found.owned_by))
}

/// The GPUs that a metrics page of ours names, with their drivers.
pub(super) fn gpus(page: &[Sample]) -> Vec<String> {
    let named = page.iter().filter(|one| one.name == metrics::GPU_INFO);
    named
        .filter_map(|one| {
            let name = one.label("name")?;
            Some(match one.label("driver") {
                Some(driver) if !driver.is_empty() => format!("{name} (driver {driver})"),
                _ => name.to_owned(),
            })
        })
        .collect()
}

/// The machine that a process runs on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Machine {
    /// The CPU's name.
    pub cpu: Option<String>,
    /// The machine's cores, whether or not the server may use them all.
    pub cores: Option<usize>,
    /// Instruction sets that matter for inference.
    pub cpu_features: Vec<String>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// The operating system.
    pub system: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// Its disks: name, model where it says one, and size.
    pub disks: Vec<String>,
    /// Names of the server's GPUs, and their drivers.
    pub gpus: Vec<String>,
}

const FEATURES: [&str; 8] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "sve",
];

/// The machine that this process runs on, as Linux describes it.
pub fn this_machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    // A container's file describes its image.
    let release = if is_container() {
        String::new()
    } else {
        read("/etc/os-release")
    };
    Machine {
        disks: disks(Path::new("/sys/block")),
        ..describe(
            &read("/proc/cpuinfo"),
            &read("/proc/meminfo"),
            &release,
            &read("/proc/sys/kernel/osrelease"),
        )
    }
}

/// Bytes of a sector, whatever the disk's own are (sysfs-block, `size`).
const SECTOR: u64 = 512;

/// The disks in a folder such as `/sys/block`; what the kernel makes of memory, files or other disks is none.
fn disks(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut disks: Vec<_> = entries
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let read = |file| fs::read_to_string(entry.path().join(file)).ok();
            let sectors: u64 = read("size")?.trim().parse().ok()?;
            let model = read("device/model").unwrap_or_default();
            let name = entry.file_name().to_string_lossy().into_owned();
            let gigabytes = (sectors * SECTOR) as f64 / 1e9;
            (sectors > 0).then(|| match model.trim() {
                "" => format!("{name} {gigabytes:.0} GB"),
                model => format!("{name} {model} {gigabytes:.0} GB"),
            })
        })
        .collect();
    disks.sort();
    disks
}

impl Machine {
    /// With what Kubernetes knows of the nodes that the server runs on, where nothing else told it and all of them agree.
    #[must_use]
    pub fn or_of_nodes(self, nodes: &[NodeFacts]) -> Self {
        fn agreed<T: PartialEq>(
            nodes: &[NodeFacts],
            fact: impl Fn(&NodeFacts) -> Option<T>,
        ) -> Option<T> {
            let first = fact(nodes.first()?);
            let same = nodes.iter().all(|node| fact(node) == first);
            first.filter(|_| same)
        }
        let gpus = agreed(nodes, |node| Some((node.gpu_product.clone()?, node.gpus)));
        Self {
            cores: self.cores.or_else(|| {
                let millicores = agreed(nodes, |node| node.cpu_millicores)?;
                usize::try_from(millicores / 1000).ok()
            }),
            memory_bytes: self
                .memory_bytes
                .or_else(|| agreed(nodes, |node| node.memory_bytes)),
            system: self
                .system
                .or_else(|| agreed(nodes, |node| node.os_image.clone())),
            kernel: self
                .kernel
                .or_else(|| agreed(nodes, |node| node.kernel_version.clone())),
            gpus: match gpus {
                Some((name, count)) if self.gpus.is_empty() => {
                    vec![format!("{count} × {name} on the node")]
                }
                _ => self.gpus,
            },
            ..self
        }
    }
}

/// Kubernetes and other runtimes of containers say so in the environment.
fn is_container() -> bool {
    ["KUBERNETES_SERVICE_HOST", "container"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

fn describe(cpuinfo: &str, meminfo: &str, release: &str, kernel: &str) -> Machine {
    let after = |text: &str, key: &str, sign: char| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(sign)?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let flags = after(cpuinfo, "flags", ':').or_else(|| after(cpuinfo, "Features", ':'));
    let flags = flags.unwrap_or_default();
    let has = |feature: &&str| flags.split(' ').any(|flag| flag == *feature);
    let kib = after(meminfo, "MemTotal", ':')
        .and_then(|total| total.split(' ').next()?.parse::<u64>().ok());
    Machine {
        cpu: after(cpuinfo, "model name", ':'),
        cores: Some(cpuinfo.lines().filter(|line| is_processor(line)).count()).filter(|&n| n > 0),
        cpu_features: FEATURES.into_iter().filter(has).map(Into::into).collect(),
        memory_bytes: kib.map(|kib| kib * 1024),
        system: after(release, "PRETTY_NAME", '='),
        kernel: Some(kernel.trim().to_owned()).filter(|kernel| !kernel.is_empty()),
        disks: vec![],
        gpus: vec![],
    }
}

fn is_processor(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(name, _)| name.trim() == "processor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::exposition::samples;

    #[test]
    fn a_page_of_ours_names_its_gpus() {
        let page: Vec<_> = samples(
            "llm_gpu_info{gpu=\"0\",name=\"H100\",driver=\"570.1\"} 1\n\
             llm_gpu_info{gpu=\"1\",name=\"L4\",driver=\"\"} 1\n",
        )
        .collect();
        assert_eq!(gpus(&page), ["H100 (driver 570.1)", "L4"]);
        assert_eq!(gpus(&[]), [""; 0]);
    }

    #[test]
    fn a_page_of_ours_describes_the_model() {
        let page: Vec<_> = samples(
            "llm_model_info{model_name=\"smollm2\",architecture=\"llama\",precision=\"q4_1\",\
             device=\"cpu\",revision=\"\"} 1\nllm_model_weights_bytes 96468992\n\
             llm_model_context_length_tokens 2048\nllm_model_kv_cache_bytes_per_token 23040\n",
        )
        .collect();
        let facts = model_facts(&page).unwrap();
        assert_eq!(facts.name, "smollm2");
        assert_eq!(facts.precision.as_deref(), Some("q4_1"));
        assert_eq!(facts.revision, None);
        assert_eq!(
            (facts.weights_bytes, facts.context_length),
            (Some(96_468_992), Some(2048))
        );
        assert_eq!(facts.kv_bytes_per_token, Some(23_040));
    }

    #[test]
    fn a_model_list_names_the_server_and_the_context() {
        let answer =
            br#"{"object":"list","data":[{"id":"m","owned_by":"vllm","max_model_len":4096}]}"#;
        let (facts, owner) = read_listed(answer, "m").unwrap();
        assert_eq!(
            (facts.context_length, owner.as_deref()),
            (Some(4096), Some("vllm"))
        );
        assert!(
            read_listed(answer, "x")
                .unwrap_err()
                .contains("does not list x")
        );
        assert!(
            read_listed(b"<html>", "m")
                .unwrap_err()
                .contains("model list")
        );
    }

    #[test]
    fn disks_are_what_has_a_device_below_it() {
        let folder = tempfile::tempdir().unwrap();
        for (name, model, sectors) in [
            ("sda", Some("FAST SSD \n"), "1953525168\n"),
            ("vda", None, "492187500"),
            ("sr0", Some("CDROM"), "0"),
        ] {
            let device = folder.path().join(name).join("device");
            fs::create_dir_all(&device).unwrap();
            fs::write(folder.path().join(name).join("size"), sectors).unwrap();
            if let Some(model) = model {
                fs::write(device.join("model"), model).unwrap();
            }
        }
        fs::create_dir_all(folder.path().join("loop0")).unwrap();
        fs::write(folder.path().join("loop0/size"), "8").unwrap();
        assert_eq!(disks(folder.path()), ["sda FAST SSD 1000 GB", "vda 252 GB"]);
        assert_eq!(disks(&folder.path().join("none")), [""; 0]);
    }

    #[test]
    fn nodes_tell_what_linux_did_not_where_all_of_them_agree() {
        let node = |kernel: &str| NodeFacts {
            os_image: Some("Debian 12".to_owned()),
            kernel_version: Some(kernel.to_owned()),
            cpu_millicores: Some(64_000),
            gpus: 8,
            gpu_product: Some("NVIDIA-L4".to_owned()),
            ..NodeFacts::default()
        };
        let known = Machine {
            cores: Some(2),
            ..Machine::default()
        };
        let told = known.clone().or_of_nodes(&[node("6.1"), node("6.2")]);
        assert_eq!(told.cores, Some(2), "read where the server runs");
        assert_eq!(told.system.as_deref(), Some("Debian 12"));
        assert_eq!(told.kernel, None, "they differ");
        assert_eq!(told.gpus, ["8 × NVIDIA-L4 on the node"]);
        assert_eq!(
            Machine::default().or_of_nodes(&[node("6.1")]).cores,
            Some(64)
        );
        assert_eq!(known.clone().or_of_nodes(&[]), known);
    }

    #[test]
    fn a_machine_is_described_by_what_linux_says() {
        let machine = describe(
            "processor\t: 0\nmodel name\t: EPYC\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\n",
            "MemTotal:       1024 kB\n",
            "NAME=\"x\"\nPRETTY_NAME=\"Debian 12\"\n",
            "6.18.0\n",
        );
        assert_eq!(machine.cpu.as_deref(), Some("EPYC"));
        assert_eq!(machine.cores, Some(2));
        assert_eq!(machine.cpu_features, ["avx2", "fma"]);
        assert_eq!(machine.memory_bytes, Some(1 << 20));
        assert_eq!(machine.system.as_deref(), Some("Debian 12"));
        assert_eq!(machine.kernel.as_deref(), Some("6.18.0"));
    }

    #[test]
    fn every_precision_that_can_be_served_has_a_size() {
        use candlepower_api::precision::Precision;
        for precision in Precision::ALL {
            let known = bits_per_weight(precision.as_str()).is_some();
            assert_eq!(known, precision != Precision::Auto, "{precision}");
        }
    }
}

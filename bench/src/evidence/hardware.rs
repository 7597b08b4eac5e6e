//! A machine as it describes itself, and how fast it is: read and measured where this program runs.
use super::{
    facts::{self, Machine},
    probe::{Probe, probe},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long each part of the probe takes.
const PROBE: Duration = Duration::from_millis(700);

/// What a look at a machine brings.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// What it is.
    pub machine: Machine,
    /// How fast it is.
    pub probe: Probe,
}

impl Hardware {
    /// That of the machine that this process runs on. It takes some seconds, and all cores that the process may use.
    pub fn read() -> Self {
        Self {
            machine: facts::this_machine(),
            probe: probe(PROBE),
        }
    }

    /// As JSON of at most so many bytes: of a machine with very many disks some are left out.
    ///
    /// # Errors
    /// Where even without disks it is longer, or has no JSON form.
    pub fn to_json_within(&self, bytes: usize) -> serde_json::Result<String> {
        let mut told = self.clone();
        loop {
            let text = serde_json::to_string(&told)?;
            if text.len() <= bytes {
                return Ok(text);
            }
            if told.machine.disks.pop().is_none() {
                return Err(serde::ser::Error::custom(format!(
                    "what was found takes {} bytes of {bytes}",
                    text.len()
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(disks: usize) -> Hardware {
        Hardware {
            machine: Machine {
                cpu: Some("EPYC".to_owned()),
                disks: (0..disks)
                    .map(|number| format!("nvme{number}n1 1000 GB"))
                    .collect(),
                ..Machine::default()
            },
            probe: Probe {
                bytes_per_second: 1.0,
                flops_per_second: 2.0,
                int8: None,
                threads: 2,
                buffer_bytes: 3,
                source: String::new(),
            },
        }
    }

    #[test]
    fn the_last_words_of_a_pod_have_room_for_all_but_very_many_disks() {
        let read = |text: &str| serde_json::from_str::<Hardware>(text).unwrap();
        let few = hardware(3);
        assert_eq!(read(&few.to_json_within(4096).unwrap()), few);
        let text = hardware(1000).to_json_within(4096).unwrap();
        let kept = read(&text).machine.disks;
        assert!(
            text.len() <= 4096 && kept.len() > 100 && kept[0] == "nvme0n1 1000 GB",
            "{kept:?}"
        );
        assert!(few.to_json_within(10).is_err());
    }
}

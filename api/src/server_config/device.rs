//! The server's choice of device.
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Where the model is computed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A GPU where the server is built for one and finds one, and else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first GPU of NVIDIA that the process sees.
    Cuda,
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(UnknownDevice(text.to_owned())),
        }
    }
}

/// A device that does not exist.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown device \"{0}\": write auto, cpu or cuda")]
pub struct UnknownDevice(String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_config::ServerConfig;

    #[test]
    fn a_device_that_does_not_exist_is_refused_with_those_that_do() {
        assert_eq!("cuda".parse(), Ok(Device::Cuda));
        let error = "gpu".parse::<Device>().unwrap_err().to_string();
        assert!(error.contains("auto, cpu or cuda"), "{error}");
        assert!(ServerConfig::from_yaml("model: {path: a}\nengine: {device: gpu}").is_err());
    }
}

//! Where the evidence of a run is looked for.
use super::{gpus::GpuScrapes, hardware::Hardware, scrape::Scraped, trace::Origin};
use crate::load::plan::Target;
use candlepower_api::{
    benchmark::{MetricsDialect, job::NodeFacts},
    deployment::LLMDeploymentSpec,
};

/// Where metrics are.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a run")]
pub enum MetricsFrom {
    /// They were scraped while the load ran.
    Scrapes {
        /// The pages' addresses.
        pages: Vec<String>,
        /// What came of it.
        scraped: Scraped,
        /// Where else they are, should no scrape have been answered.
        instead: Option<Box<MetricsFrom>>,
    },
    /// A Prometheus has them, or several have a part each.
    Prometheus {
        /// Their addresses.
        urls: Vec<String>,
        /// Whose metric names they are.
        dialect: MetricsDialect,
        /// Label matchers that select the server's pods.
        selector: String,
    },
    /// Nowhere.
    Nowhere {
        /// Why.
        why: String,
    },
}

/// Where it is said what the server runs on.
#[derive(Clone, Debug)]
pub enum HardwareFrom {
    /// It runs on this machine, so that what is read here is true of it.
    ThisMachine,
    /// Somebody looked, where it runs.
    Read(Box<Hardware>),
    /// Nowhere.
    Nowhere {
        /// Why.
        why: String,
    },
}

impl HardwareFrom {
    /// What a command can know, which is told whether the server runs beside it.
    pub fn of_command(same_machine: bool) -> Self {
        if same_machine {
            return Self::ThisMachine;
        }
        Self::Nowhere {
            why: "the server runs on another machine than this command, and a probe taken here would say \
                  nothing about it"
                .to_owned(),
        }
    }
}

/// Where evidence is looked for.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What was loaded, and what opens it.
    pub target: Target,
    /// Metrics.
    pub metrics: MetricsFrom,
    /// What pages of NVIDIA's dcgm-exporter said while the load ran.
    pub gpus: GpuScrapes,
    /// Jaegers that this machine reaches, or why there is none.
    pub jaegers: Result<Vec<String>, String>,
    /// The deployment and its namespace, where both are known.
    pub origin: Option<Origin>,
    /// What the deployment asks for, where the target is one of ours.
    pub deployment: Option<LLMDeploymentSpec>,
    /// The machine below the server.
    pub hardware: HardwareFrom,
    /// How many pods serve, where that is known.
    pub pods: u32,
    /// What Kubernetes knows of their nodes.
    pub nodes: Vec<NodeFacts>,
    /// Why nothing is known of some of them.
    pub nodes_missing: Option<String>,
}

impl MetricsFrom {
    /// Where no scrape was answered, what is said to be asked instead.
    pub(super) fn or_instead(self) -> Self {
        match self {
            Self::Scrapes {
                scraped,
                instead: Some(instead),
                ..
            } if scraped.answered == 0 => *instead,
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_scrape_was_answered_a_prometheus_is_asked_instead() {
        let prometheus = || MetricsFrom::Prometheus {
            urls: vec!["http://127.0.0.1:9".to_owned()],
            dialect: MetricsDialect::Candlepower,
            selector: String::new(),
        };
        let scrapes = |answered| MetricsFrom::Scrapes {
            pages: vec![],
            scraped: Scraped {
                answered,
                ..Scraped::default()
            },
            instead: Some(Box::new(prometheus())),
        };
        assert!(matches!(
            scrapes(0).or_instead(),
            MetricsFrom::Prometheus { .. }
        ));
        assert!(matches!(
            scrapes(1).or_instead(),
            MetricsFrom::Scrapes { .. }
        ));
    }
}

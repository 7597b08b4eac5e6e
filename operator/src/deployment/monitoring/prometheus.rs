//! Asks Prometheus whether it scrapes a resource's pods and has loaded its rules: rarely, because
//! an idle system stays quiet.
use crate::deployment::{
    asking::{self, Asking, Known, growing},
    fetch,
};
use axum::body::Bytes;
use candlepower_api::names::ports;
use futures::future::join_all;
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// A Prometheus that is well answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// Larger than any answer to questions about one resource.
const LARGEST_BODY: usize = 1024 * 1024;
/// How soon a bad answer is asked for again.
pub(in crate::deployment) const WHILE_TROUBLED: Duration = Duration::from_secs(30);
/// How soon a good answer is asked for again.
pub(in crate::deployment) const WHILE_WELL: Duration = Duration::from_secs(300);
/// How rarely a pod's own Prometheus that never answers is asked in the end.
const WHILE_SILENT: Duration = Duration::from_secs(600);

/// What to ask, and whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    /// Base addresses, without a slash at their end.
    pub(super) addresses: Vec<String>,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Of the resource, whose rules must be loaded.
    pub(super) generation: Option<i64>,
    /// Targets that there must be at least: pods that have served for a while.
    pub(super) expected: usize,
    /// Whether each pod has a Prometheus of its own, instead of one for all.
    pub(super) is_sidecar: bool,
}

/// What Prometheus says about a resource.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::deployment) struct Finding {
    /// Whether each pod has a Prometheus of its own, instead of one for all.
    pub(in crate::deployment) is_sidecar: bool,
    /// Why a Prometheus gave no answer.
    pub(in crate::deployment) unreachable: Option<String>,
    /// Targets that are scraped.
    pub(in crate::deployment) up: usize,
    /// Targets that there must be at least.
    pub(in crate::deployment) expected: usize,
    /// Targets whose last scrape failed.
    pub(in crate::deployment) down: usize,
    /// Groups with alerts that are not loaded.
    pub(in crate::deployment) missing_groups: Vec<String>,
}

impl Finding {
    /// Whether everything is as it should be.
    pub(in crate::deployment) fn is_well(&self) -> bool {
        self.unreachable.is_none()
            && self.up > 0
            && self.up >= self.expected
            && self.down == 0
            && self.missing_groups.is_empty()
    }

    /// What several, each asked about its own targets, say together.
    fn merged(findings: impl IntoIterator<Item = Self>) -> Self {
        findings.into_iter().fold(Self::default(), |sum, one| {
            let mut missing_groups = sum.missing_groups;
            for group in one.missing_groups {
                if !missing_groups.contains(&group) {
                    missing_groups.push(group);
                }
            }
            Self {
                is_sidecar: sum.is_sidecar,
                unreachable: sum.unreachable.or(one.unreachable),
                up: sum.up + one.up,
                expected: sum.expected,
                down: sum.down + one.down,
                missing_groups,
            }
        })
    }
}

impl asking::Answer for Finding {
    fn is_silence(&self) -> bool {
        self.unreachable.is_some()
    }

    fn lifetime(&self, _: Duration, silences: u32) -> Duration {
        if self.is_well() {
            WHILE_WELL
        } else if self.is_sidecar {
            growing(WHILE_TROUBLED, 4, WHILE_SILENT, silences)
        } else {
            WHILE_TROUBLED
        }
    }
}

/// Asks, and remembers the answers for a while.
pub(in crate::deployment) struct Verifier {
    client: Arc<Asker>,
    /// A question is shared by who asks it time and again.
    known: Asking<Arc<Question>, Finding>,
}

impl Verifier {
    pub(in crate::deployment) fn new() -> Self {
        Self {
            client: Arc::new(Asker(fetch::Client::new(PATIENCE))),
            known: Asking::default(),
        }
    }

    /// The present answer about the object with this uid. One that comes later calls `late`, unless it is the first one and
    /// `is_told`. `groups` are those with alerts that must be loaded; to name them is dear, so that it is done only where
    /// somebody answers.
    pub(super) async fn finding(
        &self,
        uid: &str,
        question: Question,
        groups: impl Fn(&Question) -> Vec<String> + Send + Sync + 'static,
        is_told: impl Fn(&Finding) -> bool + Send + 'static,
        late: impl Fn() + Send + 'static,
    ) -> Known<Finding> {
        let (client, question) = (self.client.clone(), Arc::new(question));
        let asked = Arc::new((question.clone(), groups));
        let ask = move || {
            let (client, asked) = (client.clone(), asked.clone());
            async move {
                let (question, groups) = &*asked;
                client.ask_all(question, &|| groups(question)).await
            }
        };
        self.known.follow(uid, question, ask, is_told, late).await
    }
}

/// Names the groups that must be loaded.
type Groups<'a> = &'a (dyn Fn() -> Vec<String> + Send + Sync);

/// Asks whoever scrapes.
struct Asker(fetch::Client);

impl Asker {
    async fn ask_all(&self, question: &Question, groups: Groups<'_>) -> Finding {
        let asked = question
            .addresses
            .iter()
            .map(|address| self.ask(address, question, groups));
        Finding {
            expected: question.expected,
            is_sidecar: question.is_sidecar,
            ..Finding::merged(join_all(asked).await)
        }
    }

    async fn ask(&self, address: &str, question: &Question, groups: Groups<'_>) -> Finding {
        self.ask_both(address, question, groups)
            .await
            .unwrap_or_else(|error| unreachable(address, &error))
    }

    async fn ask_both(
        &self,
        address: &str,
        question: &Question,
        groups: Groups<'_>,
    ) -> Result<Finding, String> {
        let targets = self.get(&targets_url(address, question)).await?;
        let (up, down) = count(&targets)?;
        let groups = groups();
        let missing_groups = if groups.is_empty() {
            Vec::new()
        } else {
            missing(&groups, &self.get(&rules_url(address, &groups)).await?)?
        };
        Ok(Finding {
            up,
            down,
            missing_groups,
            ..Finding::default()
        })
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let (status, body) = self.0.get(url, LARGEST_BODY).await?;
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        Ok(body)
    }
}

fn unreachable(address: &str, why: &str) -> Finding {
    Finding {
        unreachable: Some(format!("{address}: {why}")),
        ..Finding::default()
    }
}

/// The Prometheus in the pod with this IP.
pub(super) fn address(pod_ip: &str) -> Option<String> {
    Some(match pod_ip.parse().ok()? {
        IpAddr::V4(ip) => format!("http://{ip}:{}", ports::PROMETHEUS),
        IpAddr::V6(ip) => format!("http://[{ip}]:{}", ports::PROMETHEUS),
    })
}

/// Names of namespaces and resources need no escape in a URL; the query around them does.
fn targets_url(address: &str, question: &Question) -> String {
    format!(
        "{address}/api/v1/query?query=up%7Bnamespace%3D%22{}%22%2Cllmdeployment%3D%22{}%22%7D",
        question.namespace, question.name
    )
}

fn rules_url(address: &str, groups: &[String]) -> String {
    let groups: Vec<_> = groups
        .iter()
        .map(|group| format!("&rule_group%5B%5D={}", group.replace(':', "%3A")))
        .collect();
    format!(
        "{address}/api/v1/rules?type=alert&exclude_alerts=true{}",
        groups.concat()
    )
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    value: (f64, String),
}

#[derive(Deserialize)]
struct Listed {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

/// How many targets are up, and how many are not.
fn count(body: &[u8]) -> Result<(usize, usize), String> {
    let answer: Answer<Vector> = read(body)?;
    let up = answer
        .data
        .result
        .iter()
        .filter(|sample| sample.value.1 == "1")
        .count();
    Ok((up, answer.data.result.len() - up))
}

/// Which of `groups` Prometheus does not list.
fn missing(groups: &[String], body: &[u8]) -> Result<Vec<String>, String> {
    let answer: Answer<Listed> = read(body)?;
    let is_missing = |name: &&String| !answer.data.groups.iter().any(|group| group.name == **name);
    Ok(groups.iter().filter(is_missing).cloned().collect())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<Answer<T>, String> {
    serde_json::from_slice(body).map_err(|error| format!("not an answer of Prometheus: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            addresses: vec!["http://p:9090".into()],
            namespace: "team".into(),
            name: "tiny".into(),
            generation: Some(1),
            expected: 1,
            is_sidecar: false,
        }
    }

    #[test]
    fn the_questions_are_about_one_resource() {
        let question = question();
        insta::assert_snapshot!(targets_url("http://p:9090", &question), @"http://p:9090/api/v1/query?query=up%7Bnamespace%3D%22team%22%2Cllmdeployment%3D%22tiny%22%7D");
        insta::assert_snapshot!(rules_url("http://p:9090", &["candlepower:team:tiny:alerts".into()]), @"http://p:9090/api/v1/rules?type=alert&exclude_alerts=true&rule_group%5B%5D=candlepower%3Ateam%3Atiny%3Aalerts");
    }

    #[test]
    fn targets_are_counted_by_their_last_scrape() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"pod":"a"},"value":[1.5,"1"]},{"metric":{"pod":"b"},"value":[1.5,"0"]}]}}"#;
        assert_eq!(count(body), Ok((1, 1)));
        assert!(count(b"<html>").unwrap_err().contains("not an answer"));
    }

    #[test]
    fn a_group_that_is_not_listed_is_missing() {
        let groups = ["a".to_owned(), "b".to_owned()];
        let body = br#"{"data":{"groups":[{"name":"a","rules":[]}]}}"#;
        assert_eq!(missing(&groups, body), Ok(vec!["b".to_owned()]));
    }

    #[test]
    fn only_a_pods_own_prometheus_is_asked_ever_more_rarely() {
        use asking::Answer;
        let lifetime = |is_sidecar, silences| {
            let finding = Finding {
                is_sidecar,
                ..unreachable("http://p:9090", "refused")
            };
            finding.lifetime(PATIENCE, silences)
        };
        assert_eq!(lifetime(true, 1), WHILE_TROUBLED);
        assert_eq!(lifetime(true, 9), WHILE_SILENT);
        assert_eq!(lifetime(false, 9), WHILE_TROUBLED, "its end is awaited");
    }

    #[test]
    fn one_trouble_among_several_is_a_trouble() {
        let well = Finding {
            up: 1,
            ..Finding::default()
        };
        let silent = unreachable("http://p:9090", "refused");
        assert!(Finding::merged([well.clone(), well.clone()]).is_well());
        let one_of_two = Finding {
            expected: 2,
            ..well.clone()
        };
        assert!(!one_of_two.is_well(), "a pod that serves is not scraped");
        let both = Finding::merged([well, silent]);
        assert!(!both.is_well());
        assert_eq!(both.unreachable.as_deref(), Some("http://p:9090: refused"));
    }
}

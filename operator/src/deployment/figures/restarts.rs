//! How often servers were started again lately, by their pods' own counts: a server that lives for a
//! second is hardly ever seen by a scrape.
use super::Key;
use crate::{
    deployment::build::CONTAINER,
    observability::rules::{CRASH_LOOP, CRASH_LOOP_RESTARTS},
    watches::Pod,
};
use k8s_openapi::jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// How often the pod's server was started again; `None` before its first start.
pub(in crate::deployment) fn of(pod: &Pod) -> Option<i32> {
    let mut containers = pod.status.container_statuses.iter();
    let server = containers.find(|one| *one.name == *CONTAINER)?;
    Some(server.restart_count)
}

/// The restarts of all pods, by uid.
#[derive(Debug, Default)]
pub(super) struct Restarts(HashMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    resource: Key,
    /// When each count was seen first, oldest first.
    counts: VecDeque<(Instant, i32)>,
}

impl Restarts {
    /// Takes in the counts of all pods that are there, and lets go of the others.
    pub(super) fn take<'a>(
        &mut self,
        now: Instant,
        time: Timestamp,
        pods: impl Iterator<Item = &'a Pod>,
    ) {
        let mut before = std::mem::take(&mut self.0);
        for pod in pods {
            let (Some(resource), Some(count)) = (key(pod), of(pod)) else {
                continue;
            };
            let uid = pod.uid.to_string();
            let mut seen = before.remove(&uid).unwrap_or_else(|| Seen {
                resource,
                // What a pod counts that is younger than the window, it counted in it.
                counts: [(now, if is_young(pod, time) { 0 } else { count })].into(),
            });
            seen.push(now, count);
            self.0.insert(uid, seen);
        }
    }

    /// The resources of which a server ends again and again.
    pub(super) fn looping(&self) -> HashSet<&Key> {
        let pods = self.0.values();
        pods.filter(|seen| seen.lately() >= CRASH_LOOP_RESTARTS)
            .map(|seen| &seen.resource)
            .collect()
    }
}

impl Seen {
    fn push(&mut self, now: Instant, count: i32) {
        if self.counts.back().is_none_or(|(_, last)| *last != count) {
            self.counts.push_back((now, count));
        }
        // The newest one that is older than the window is where the window begins.
        while self
            .counts
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= CRASH_LOOP)
        {
            self.counts.pop_front();
        }
    }

    fn lately(&self) -> i32 {
        match (self.counts.front(), self.counts.back()) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => 0,
        }
    }
}

fn key(pod: &Pod) -> Option<Key> {
    Some((
        pod.namespace.to_string(),
        pod.deployment.as_deref()?.to_owned(),
    ))
}

fn is_young(pod: &Pod, time: Timestamp) -> bool {
    let started = pod.started();
    let age = started.map(|started| Duration::try_from(time.duration_since(started)));
    age.is_some_and(|age| age.is_ok_and(|age| age < CRASH_LOOP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{now as time, pod_in};
    use serde_json::json;

    fn tiny() -> Key {
        ("team".to_owned(), "tiny".to_owned())
    }

    /// A pod that its node took at `start`, with this count.
    fn pod(uid: &str, start: &str, count: i32) -> Pod {
        let mut pod = (*pod_in(json!({"waiting": {}}), json!({}), count).pod).clone();
        pod.uid = uid.into();
        pod.deployment = Some("tiny".into());
        pod.status.start_time = serde_json::from_value(json!(start)).unwrap();
        pod
    }

    const LONG_AGO: &str = "2026-01-01T02:00:00Z";

    /// Whether it loops after a pod was seen with these counts, each so many minutes after the start.
    fn loops(start: &str, counts: &[(u64, i32)]) -> bool {
        let began = Instant::now();
        let mut restarts = Restarts::default();
        for (minute, count) in counts {
            let now = began + Duration::from_secs(60 * minute);
            restarts.take(now, time(), [&pod("a", start, *count)].into_iter());
        }
        restarts.looping().contains(&tiny())
    }

    #[test]
    fn three_restarts_within_the_window_are_a_loop_and_two_are_not() {
        assert!(loops(LONG_AGO, &[(0, 4), (1, 6), (2, 7)]));
        assert!(!loops(LONG_AGO, &[(0, 4), (1, 6)]));
        assert!(
            loops(LONG_AGO, &[(0, 4), (6, 5), (12, 6), (18, 7)]),
            "the pauses have grown"
        );
        assert!(!loops(LONG_AGO, &[(0, 4), (15, 5), (30, 6), (45, 7)]));
    }

    #[test]
    fn it_ends_with_the_window_or_with_the_pod() {
        let mut counts = vec![(0, 4), (1, 7)];
        assert!(loops(LONG_AGO, &counts));
        counts.push((22, 7));
        assert!(!loops(LONG_AGO, &counts), "it has been steady since");
        let mut restarts = Restarts::default();
        let young = "2026-01-01T11:59:00Z";
        restarts.take(Instant::now(), time(), [&pod("a", young, 3)].into_iter());
        assert!(restarts.looping().contains(&tiny()));
        restarts.take(Instant::now(), time(), [&pod("b", young, 0)].into_iter());
        assert!(
            !restarts.looping().contains(&tiny()),
            "another pod has taken its place"
        );
    }

    #[test]
    fn at_first_sight_only_a_young_pod_tells_of_the_window() {
        assert!(loops("2026-01-01T11:45:00Z", &[(0, 3)]));
        assert!(!loops("2026-01-01T11:35:00Z", &[(0, 3)]));
    }

    #[test]
    fn two_pods_and_other_resources_do_not_add_up() {
        let mut restarts = Restarts::default();
        let young = "2026-01-01T11:59:00Z";
        let pods = [pod("a", young, 2), pod("b", young, 2)];
        restarts.take(Instant::now(), time(), pods.iter());
        assert!(!restarts.looping().contains(&tiny()));
        restarts.take(Instant::now(), time(), [&pod("a", young, 5)].into_iter());
        assert!(
            !restarts
                .looping()
                .contains(&("elsewhere".to_owned(), "tiny".to_owned()))
        );
    }
}

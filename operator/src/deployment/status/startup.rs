//! `status.startup`: how long it takes to become Ready. It is kept in the status, so that it outlives
//! the operator.
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentStatus, status::Startup},
    names::conditions,
    value::Duration,
};
use k8s_openapi::jiff::{Timestamp, Unit};

/// The way to Ready that `resource` is on, or the last one where it is Ready.
pub(super) fn startup(
    resource: &LLMDeployment,
    previous: &LLMDeploymentStatus,
    ready: bool,
    now: Timestamp,
) -> Option<Startup> {
    // Without wanted replicas nothing is on its way.
    if resource.spec.desired_replicas() == 0 {
        return None;
    }
    let before = previous.startup.clone();
    if ready {
        let mut startup = before?;
        startup.took = startup.took.or_else(|| since(&startup.began, now));
        return Some(startup);
    }
    let changed = previous.observed_generation != resource.metadata.generation;
    let waits = before.as_ref().is_some_and(|before| before.took.is_none());
    if waits && !changed {
        return before;
    }
    let began = match (&resource.metadata.creation_timestamp, previous) {
        (Some(created), previous) if previous.observed_generation.is_none() => created.0,
        (_, previous) if changed || was_ready(previous) => now,
        // The operator before this one did not keep it.
        _ => return None,
    };
    let began = began.round(Unit::Millisecond).unwrap_or(began);
    Some(Startup {
        began: began.to_string(),
        took: None,
    })
}

fn since(began: &str, now: Timestamp) -> Option<Duration> {
    let began: Timestamp = began.parse().ok()?;
    let took = now.duration_since(began).as_millis();
    Some(Duration::from_millis(u64::try_from(took).unwrap_or(0)))
}

fn was_ready(status: &LLMDeploymentStatus) -> bool {
    let mut all = status.conditions.iter();
    all.any(|condition| condition.type_ == conditions::READY && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{NOW, now, resource};
    use k8s_openapi::jiff::SignedDuration;
    use serde_json::{Value, json};

    /// What a status says, seconds after [`NOW`].
    struct Told {
        status: LLMDeploymentStatus,
    }

    impl Told {
        fn nothing() -> Self {
            Self {
                status: LLMDeploymentStatus::default(),
            }
        }

        /// The resource of this specification and generation is looked at, and found Ready or not.
        fn look(mut self, second: i64, spec: Value, generation: i64, ready: bool) -> Self {
            let mut resource = resource(spec);
            resource.metadata.generation = Some(generation);
            let created = serde_json::from_value(json!("2026-01-01T11:59:50Z")).unwrap();
            resource.metadata.creation_timestamp = Some(created);
            let now = now() + SignedDuration::from_secs(second);
            let startup = startup(&resource, &self.status, ready, now);
            let status = if ready { "True" } else { "False" };
            self.status = serde_json::from_value(json!({
                "observedGeneration": generation,
                "conditions": [{"type": "Ready", "status": status, "reason": "", "message": "",
                    "lastTransitionTime": NOW}],
            }))
            .unwrap();
            self.status.startup = startup;
            self
        }

        fn took(&self) -> Option<f64> {
            let took = self.status.startup.as_ref()?.took?;
            Some(took.as_std().as_secs_f64())
        }
    }

    #[test]
    fn a_new_resource_counts_from_its_creation_and_keeps_its_time() {
        let told = Told::nothing().look(0, json!({}), 1, false);
        assert_eq!(told.took(), None);
        let told = told
            .look(5, json!({}), 1, false)
            .look(20, json!({}), 1, true);
        assert_eq!(told.took(), Some(30.0));
        let told = told.look(900, json!({}), 1, true);
        assert_eq!(told.took(), Some(30.0), "it is not written anew");
    }

    #[test]
    fn a_change_counts_from_the_change_even_where_it_was_not_ready_before() {
        let told = Told::nothing().look(0, json!({}), 1, false);
        let told = told.look(3600, json!({}), 2, false);
        let told = told.look(3607, json!({}), 2, true);
        assert_eq!(told.took(), Some(7.0));
    }

    #[test]
    fn a_change_that_rolls_nothing_leaves_the_time_as_it_was() {
        let told = Told::nothing().look(20, json!({}), 1, true);
        assert_eq!(told.took(), None, "nothing is known of it");
        let told = Told::nothing().look(0, json!({}), 1, false);
        let told = told
            .look(20, json!({}), 1, true)
            .look(60, json!({}), 2, true);
        assert_eq!(told.took(), Some(30.0));
    }

    #[test]
    fn what_was_ready_and_is_no_more_counts_from_then() {
        let told = Told::nothing().look(0, json!({}), 1, false);
        let told = told.look(20, json!({}), 1, true);
        let told = told.look(100, json!({}), 1, false);
        assert_eq!(told.took(), None);
        let told = told.look(112, json!({}), 1, true);
        assert_eq!(told.took(), Some(12.0));
    }

    #[test]
    fn time_at_zero_replicas_does_not_count() {
        let told = Told::nothing().look(0, json!({}), 1, false);
        let told = told.look(20, json!({}), 1, true);
        let told = told.look(100, json!({"replicas": 0}), 2, false);
        assert_eq!(told.status.startup, None);
        let told = told.look(7200, json!({"replicas": 1}), 3, false);
        let told = told.look(7204, json!({"replicas": 1}), 3, true);
        assert_eq!(told.took(), Some(4.0));
    }
}

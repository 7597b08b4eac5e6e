//! Events for people who watch `kubectl describe`: one for each transition, none for a visit.
use super::{context::Context, status::is_progress};
use crate::events::{event, find as find_in, publish};
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentStatus},
    names::conditions,
    server_config::LoadStage,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

/// Publishes what changed between two statuses of `resource`.
pub(super) async fn publish_transitions(
    resource: &LLMDeployment,
    previous: &LLMDeploymentStatus,
    current: &LLMDeploymentStatus,
    context: &Context,
) {
    let events = transitions(previous, current);
    let about = resource.object_ref(&());
    publish(&context.publisher, &context.metrics, &events, &about).await;
}

fn transitions(previous: &LLMDeploymentStatus, current: &LLMDeploymentStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let changed = |type_: &str, aspect: fn(&Condition) -> &str| {
        let before = find(previous, type_).map(aspect);
        find(current, type_).filter(|condition| before != Some(aspect(condition)))
    };
    if let Some(loaded) = changed(conditions::MODEL_LOADED, |condition| &condition.status)
        && loaded.status == "True"
    {
        events.push(event(loaded, "Load", EventType::Normal));
    }
    events.extend(stage_transition(previous, current));
    let before = find(previous, conditions::READY);
    if let Some(ready) = changed(conditions::READY, |condition| &condition.reason)
        && !is_told_by_kubernetes(before, ready)
    {
        let type_ = if ready.status == "True" || is_progress(&ready.reason) {
            EventType::Normal
        } else {
            EventType::Warning
        };
        events.push(event(ready, "Reconcile", type_));
    }
    events.extend(alert_transitions(previous, current));
    events.extend(scaling(previous, current));
    events
}

/// Whether `ready` says of a start what the events of the Deployment and of its pod say, too. With a thousand resources
/// each event counts.
fn is_told_by_kubernetes(before: Option<&Condition>, ready: &Condition) -> bool {
    let reason = ready.reason.as_str();
    before.is_none_or(|before| is_progress(&before.reason))
        && matches!(
            reason,
            conditions::PODS_PENDING | conditions::CONTAINER_STARTING
        )
}

/// The next stage of loading. The first is `Ready`'s own event, and so is the last.
fn stage_transition(
    previous: &LLMDeploymentStatus,
    current: &LLMDeploymentStatus,
) -> Option<Event> {
    let stage = current.load.as_ref()?.stage;
    let before = previous.load.as_ref().map(|load| load.stage);
    let (reason, note) = match stage {
        _ if before == Some(stage) => return None,
        LoadStage::Waiting | LoadStage::Loaded => return None,
        LoadStage::Downloading => ("Downloading", "the model is fetched from its source"),
        LoadStage::Verifying => ("Verifying", "the checksum of the model's file is computed"),
        LoadStage::ReadingWeights => ("ReadingWeights", "the weights are read"),
        LoadStage::WarmingUp => ("WarmingUp", "a first generation runs"),
    };
    Some(Event {
        type_: EventType::Normal,
        reason: reason.to_owned(),
        note: Some(note.to_owned()),
        action: "Load".to_owned(),
        secondary: None,
    })
}

/// The autoscaler's number changes.
fn scaling(previous: &LLMDeploymentStatus, current: &LLMDeploymentStatus) -> Option<Event> {
    let (before, now) = (
        previous.autoscaling.as_ref()?,
        current.autoscaling.as_ref()?,
    );
    (before.desired_replicas != now.desired_replicas).then(|| Event {
        type_: EventType::Normal,
        reason: now.reason.clone(),
        note: Some(now.message.clone()),
        action: "Scale".to_owned(),
        secondary: None,
    })
}

/// An alert that starts or stops firing.
fn alert_transitions(previous: &LLMDeploymentStatus, current: &LLMDeploymentStatus) -> Vec<Event> {
    let firing = |status: &LLMDeploymentStatus| {
        let alerts = status.alerts.as_ref();
        alerts
            .map(|alerts| alerts.firing.clone())
            .unwrap_or_default()
    };
    let (before, now) = (firing(previous), firing(current));
    let started = now.iter().filter(|name| !before.contains(name));
    let ended = before.iter().filter(|name| !now.contains(name));
    let event = |type_, reason: &str, note| Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Watch".to_owned(),
        secondary: None,
    };
    started
        .map(|name| event(EventType::Warning, "AlertFiring", format!("{name} fires")))
        .chain(ended.map(|name| {
            event(
                EventType::Normal,
                "AlertResolved",
                format!("{name} is over"),
            )
        }))
        .collect()
}

fn find<'a>(status: &'a LLMDeploymentStatus, type_: &str) -> Option<&'a Condition> {
    find_in(&status.conditions, type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use candlepower_api::deployment::{
        AutoscalingStatus,
        status::{AlertStatus, Load},
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn status(conditions: &[(&str, &str, &str)]) -> LLMDeploymentStatus {
        LLMDeploymentStatus {
            conditions: conditions
                .iter()
                .map(|(type_, status, reason)| Condition {
                    type_: (*type_).to_owned(),
                    status: (*status).to_owned(),
                    reason: (*reason).to_owned(),
                    message: "why".to_owned(),
                    last_transition_time: Time(testing::now()),
                    observed_generation: None,
                })
                .collect(),
            ..LLMDeploymentStatus::default()
        }
    }

    fn reasons(
        previous: &LLMDeploymentStatus,
        current: &LLMDeploymentStatus,
    ) -> Vec<(EventType, String)> {
        transitions(previous, current)
            .into_iter()
            .map(|event| (event.type_, event.reason))
            .collect()
    }

    #[test]
    fn a_visit_that_changes_nothing_is_silent() {
        let loading = status(&[
            ("Ready", "False", "Loading"),
            ("ModelLoaded", "False", "Loading"),
        ]);
        assert_eq!(reasons(&loading, &loading), []);
    }

    #[test]
    fn an_alert_is_told_when_it_starts_and_when_it_ends() {
        let with = |firing: &[&str]| LLMDeploymentStatus {
            alerts: Some(AlertStatus {
                firing: firing.iter().map(|name| (*name).to_owned()).collect(),
                ..AlertStatus::default()
            }),
            ..LLMDeploymentStatus::default()
        };
        assert_eq!(
            reasons(&with(&["A"]), &with(&["B"])),
            [
                (EventType::Warning, "AlertFiring".to_owned()),
                (EventType::Normal, "AlertResolved".to_owned())
            ]
        );
        assert_eq!(reasons(&with(&["A"]), &with(&["A"])), []);
    }

    #[test]
    fn that_pods_start_is_told_only_of_a_resource_that_has_served() {
        let ready = |truth, reason| status(&[("Ready", truth, reason)]);
        let (pending, starting) = (
            ready("False", "PodsPending"),
            ready("False", "ContainerStarting"),
        );
        assert_eq!(reasons(&LLMDeploymentStatus::default(), &pending), []);
        assert_eq!(reasons(&pending, &starting), []);
        assert_eq!(
            reasons(&ready("True", "AllPodsReady"), &pending),
            [(EventType::Normal, "PodsPending".to_owned())]
        );
    }

    #[test]
    fn each_stage_of_loading_is_told_once() {
        let at = |stage| LLMDeploymentStatus {
            load: Some(Load {
                stage,
                percent: 0,
                remaining: None,
            }),
            ..LLMDeploymentStatus::default()
        };
        let (downloading, reading) = (at(LoadStage::Downloading), at(LoadStage::ReadingWeights));
        assert_eq!(
            reasons(&LLMDeploymentStatus::default(), &downloading),
            [(EventType::Normal, "Downloading".to_owned())]
        );
        assert_eq!(reasons(&downloading, &downloading), []);
        assert_eq!(
            reasons(&downloading, &reading),
            [(EventType::Normal, "ReadingWeights".to_owned())]
        );
        assert_eq!(reasons(&reading, &at(LoadStage::Loaded)), []);
    }

    #[test]
    fn another_number_of_pods_is_told_and_another_reason_is_not() {
        let chosen = |replicas, reason: &str| LLMDeploymentStatus {
            autoscaling: Some(AutoscalingStatus {
                desired_replicas: replicas,
                reason: reason.to_owned(),
                ..AutoscalingStatus::default()
            }),
            ..LLMDeploymentStatus::default()
        };
        let one = chosen(1, "Enough");
        assert_eq!(
            reasons(&one, &chosen(2, "LoadRose")),
            [(EventType::Normal, "LoadRose".to_owned())]
        );
        assert_eq!(reasons(&one, &chosen(1, "AtMaximum")), []);
        assert_eq!(reasons(&LLMDeploymentStatus::default(), &one), []);
    }

    #[test]
    fn progress_is_normal_and_trouble_is_a_warning() {
        let nothing = LLMDeploymentStatus::default();
        let loading = status(&[("Ready", "False", "Loading")]);
        let killed = status(&[("Ready", "False", "OOMKilled")]);
        let ready = status(&[
            ("Ready", "True", "AllPodsReady"),
            ("ModelLoaded", "True", "Loaded"),
        ]);
        assert_eq!(
            reasons(&nothing, &loading),
            [(EventType::Normal, "Loading".to_owned())]
        );
        assert_eq!(
            reasons(&loading, &killed),
            [(EventType::Warning, "OOMKilled".to_owned())]
        );
        assert_eq!(
            reasons(&killed, &ready),
            [
                (EventType::Normal, "Loaded".to_owned()),
                (EventType::Normal, "AllPodsReady".to_owned())
            ]
        );
    }
}

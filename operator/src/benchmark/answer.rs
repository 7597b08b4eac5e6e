//! What the job is told about the copy that it wished for.
use super::{decide::not_ready, dereference::Observed, served};
use crate::events::find;
use candlepower_api::{
    benchmark::job::{Answer, CopyState, Served, Wish},
    deployment::LLMDeployment,
    names::{conditions, reasons::LoadFailure},
};
use kube::ResourceExt;

/// How far a wish is. `copy` is what there is of it, or why there is nothing.
pub(super) fn to(
    wish: &Wish,
    copy: Option<Result<&LLMDeployment, String>>,
    observed: &Observed,
) -> Answer {
    // Of a copy that stopped serving under its load, the job has to learn why.
    let served = match &copy {
        Some(Ok(copy)) => Some(known(copy, observed)),
        _ => None,
    };
    let answer = |state, message: String| Answer {
        number: wish.number,
        state,
        message,
        served,
    };
    let copy = match copy {
        None if observed.copies.is_empty() => {
            return answer(CopyState::Released, "there is no copy".to_owned());
        }
        None => return answer(CopyState::Waiting, "the copy is being removed".to_owned()),
        Some(Err(why)) => return answer(CopyState::Failed, why),
        Some(Ok(copy)) => copy,
    };
    if let Some(why) = hopeless(copy) {
        return answer(CopyState::Failed, why);
    }
    match not_ready(copy) {
        Some(obstacle) => answer(CopyState::Waiting, obstacle.message),
        None => answer(CopyState::Ready, format!("{} serves", copy.name_any())),
    }
}

/// What is known of a copy, however it stands.
fn known(copy: &LLMDeployment, observed: &Observed) -> Served {
    let name = copy.name_any();
    let pods = observed
        .copy_pods
        .iter()
        .filter(|pod| pod.deployment.as_deref() == Some(&*name));
    let pods: Vec<_> = pods.cloned().collect();
    match &observed.target {
        Some(target) => served::copy(copy, &pods, &observed.nodes, target),
        None => served::deployment(copy, &pods, &observed.nodes),
    }
}

/// Why the copy will never serve, where that is certain: waiting would only cost time.
fn hopeless(copy: &LLMDeployment) -> Option<String> {
    let ready = find(&copy.status.as_ref()?.conditions, conditions::READY)?;
    let current = ready.observed_generation == copy.metadata.generation;
    let final_reasons = [
        conditions::INVALID_SPEC,
        conditions::NOT_YET_IMPLEMENTED,
        conditions::CHILD_REFUSED,
    ];
    let is_final = final_reasons
        .into_iter()
        .chain(
            LoadFailure::ALL
                .into_iter()
                // The server goes on trying.
                .filter(|failure| *failure != LoadFailure::Unreachable)
                .map(LoadFailure::as_str),
        )
        .any(|reason| reason == ready.reason);
    (current && ready.status == "False" && is_final)
        .then(|| format!("{}: {}", ready.reason, ready.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use std::sync::Arc;

    const WISH: Wish = Wish {
        number: 4,
        serve: None,
    };

    fn state(
        copy: Option<Result<&LLMDeployment, String>>,
        copies: &[LLMDeployment],
    ) -> (CopyState, String) {
        let observed = Observed {
            copies: copies.iter().cloned().map(Arc::new).collect(),
            ..Observed::default()
        };
        let answer = to(&WISH, copy, &observed);
        assert_eq!(answer.number, 4);
        (answer.state, answer.message)
    }

    #[test]
    fn a_copy_is_waited_for_until_it_serves() {
        let ready = testing::served("a");
        let loading = testing::unready("a", "Loading", "43%");
        let waiting = to(&WISH, Some(Ok(&loading)), &Observed::default());
        assert_eq!(waiting.state, CopyState::Waiting);
        assert!(waiting.served.unwrap().terminations.is_some());
        let answer = to(&WISH, Some(Ok(&ready)), &Observed::default());
        assert_eq!(answer.state, CopyState::Ready);
        assert_eq!(answer.served.unwrap().url, "http://a.team.svc:8080");
    }

    #[test]
    fn a_copy_that_can_never_serve_is_not_waited_for() {
        let corrupt = testing::unready("a", "UnsupportedPrecision", "q4_1 stays q4_1");
        let (found, message) = state(Some(Ok(&corrupt)), &[]);
        assert_eq!(found, CopyState::Failed);
        assert!(message.contains("UnsupportedPrecision"), "{message}");
        assert_eq!(state(Some(Err("no".into())), &[]).0, CopyState::Failed);
    }

    #[test]
    fn a_copy_is_released_once_it_is_gone() {
        let copy = testing::served("a");
        assert_eq!(state(None, &[copy]).0, CopyState::Waiting);
        assert_eq!(state(None, &[]).0, CopyState::Released);
    }
}

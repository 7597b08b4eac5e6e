//! `FitsMemory`: whether weights, KV cache and overhead are within the memory limit: as the server has found, or as it
//! was estimated before anything was scheduled.
use super::{
    super::{apply::Outcome, dereference::Observed, fits::Fit},
    conditions::{Truth, Verdict},
    pods::Diagnosis,
};
use candlepower_api::{
    deployment::LLMDeploymentSpec,
    memory::{GPU_OVERHEAD, OVERHEAD},
    names::{conditions, reasons::LoadFailure},
    server_config::LoadedModel,
    value::ByteSize,
};

/// What the server found goes before what was estimated. `loaded` is the model in memory.
pub(super) fn fits_memory(
    spec: &LLMDeploymentSpec,
    observed: &Observed,
    outcome: &Outcome,
    diagnoses: &[Diagnosis],
    loaded: Option<&LoadedModel>,
) -> Verdict {
    match outcome {
        Outcome::Rejected(rejection) if rejection.reason == conditions::MEMORY_TOO_SMALL => {
            return verdict(Truth::False, rejection.reason, &rejection.message);
        }
        Outcome::Rejected(rejection) => {
            return verdict(Truth::Unknown, rejection.reason, "see Ready");
        }
        Outcome::Refused(_) => {
            return verdict(Truth::Unknown, conditions::CHILD_REFUSED, "see Ready");
        }
        Outcome::Applied(_) => {}
    }
    let failure = diagnoses.iter().find_map(|diagnosis| match diagnosis {
        Diagnosis::Failing(reason, message) if is_of_memory(reason) => Some((reason, message)),
        _ => None,
    });
    if let Some((reason, message)) = failure {
        return verdict(Truth::False, reason, message);
    }
    if let Some(model) = loaded {
        return verdict(
            Truth::True,
            conditions::ENOUGH_MEMORY,
            &held(model, spec.resources.memory),
        );
    }
    match &observed.fit {
        Fit::Fits(sum) => verdict(Truth::True, conditions::ENOUGH_MEMORY, sum),
        Fit::Unknown(why) => verdict(Truth::Unknown, conditions::NOT_ESTIMATED, why),
        Fit::TooLarge(why) | Fit::NoGpu(why) => {
            verdict(Truth::False, conditions::MEMORY_TOO_SMALL, why)
        }
        Fit::NotAsked => as_before(observed),
    }
}

fn verdict(truth: Truth, reason: &str, message: &str) -> Verdict {
    Verdict::new(conditions::FITS_MEMORY, truth, reason, message)
}

fn is_of_memory(reason: &str) -> bool {
    reason == LoadFailure::InsufficientMemory.as_str() || reason == conditions::OOM_KILLED
}

/// The sum, as the server holds it: in the process's memory, or in the GPU's.
fn held(model: &LoadedModel, limit: ByteSize) -> String {
    let (overhead, whole) = if model.device == "cpu" {
        (OVERHEAD, format!("the memory limit of {}", limit.human()))
    } else {
        (GPU_OVERHEAD, "the GPU's memory".to_owned())
    };
    let sum = model
        .weights_bytes
        .saturating_add(model.kv_cache_bytes)
        .saturating_add(overhead.bytes());
    format!(
        "weights {} ({}) + KV cache {} + overhead {} = {} of {whole}",
        ByteSize::new(model.weights_bytes).human(),
        model.precision,
        ByteSize::new(model.kv_cache_bytes).human(),
        overhead.human(),
        ByteSize::new(sum).human(),
    )
}

/// What was known of the configuration that the pods have.
fn as_before(observed: &Observed) -> Verdict {
    let holds = |reason: &str| {
        is_of_memory(reason)
            || matches!(
                reason,
                conditions::ENOUGH_MEMORY | conditions::NOT_ESTIMATED
            )
    };
    let mut before = observed.previous.conditions.iter();
    let before =
        before.find(|before| before.type_ == conditions::FITS_MEMORY && holds(&before.reason));
    match before {
        Some(before) => verdict(Truth::of(before), &before.reason, &before.message),
        None => verdict(
            Truth::Unknown,
            conditions::NOT_ESTIMATED,
            "the server checks it before it loads the weights",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{
        testing::{NOW, resource},
        validate::Rejection,
    };
    use serde_json::json;

    fn applied() -> Outcome {
        Outcome::Applied(Box::default())
    }

    fn seen(fit: Fit) -> Observed {
        Observed {
            fit,
            ..Observed::default()
        }
    }

    fn told(
        observed: &Observed,
        outcome: &Outcome,
        diagnoses: &[Diagnosis],
        loaded: Option<&LoadedModel>,
    ) -> (Truth, String, String) {
        let spec = resource(json!({"resources": {"memory": "1Gi"}})).spec;
        let verdict = fits_memory(&spec, observed, outcome, diagnoses, loaded);
        (verdict.status, verdict.reason, verdict.message)
    }

    fn loaded() -> LoadedModel {
        LoadedModel {
            name: "tiny".into(),
            architecture: "llama".into(),
            precision: "q4_1".into(),
            device: "cpu".into(),
            backend: "kernels".into(),
            context_length: 2048,
            weights_bytes: 90 << 20,
            kv_cache_bytes: 45 << 20,
            kv_bytes_per_token: None,
        }
    }

    #[test]
    fn what_was_loaded_is_summed_up_whatever_was_estimated() {
        let estimated = seen(Fit::Fits("an estimate".into()));
        let (truth, reason, message) = told(&estimated, &applied(), &[], Some(&loaded()));
        assert_eq!((truth, reason.as_str()), (Truth::True, "EnoughMemory"));
        assert_eq!(
            message,
            "weights 90.0 MiB (q4_1) + KV cache 45.0 MiB + overhead 100.0 MiB = 235.0 MiB of the memory limit of 1.0 GiB"
        );
    }

    #[test]
    fn what_is_on_a_gpu_takes_no_memory_of_the_process() {
        let model = LoadedModel {
            device: "cuda".into(),
            ..loaded()
        };
        let (_, _, message) = told(&seen(Fit::NotAsked), &applied(), &[], Some(&model));
        assert_eq!(
            message,
            "weights 90.0 MiB (q4_1) + KV cache 45.0 MiB + overhead 1.0 GiB = 1.1 GiB of the GPU's memory"
        );
    }

    #[test]
    fn an_estimate_is_told_until_the_server_knows() {
        let of = |fit| {
            let (truth, reason, _) = told(&seen(fit), &applied(), &[], None);
            (truth, reason)
        };
        let fits = of(Fit::Fits("8 of 9".into()));
        assert_eq!(fits, (Truth::True, "EnoughMemory".to_owned()));
        let unknown = of(Fit::Unknown("why".into()));
        assert_eq!(unknown, (Truth::Unknown, "NotEstimated".to_owned()));
        assert_eq!(
            of(Fit::NotAsked),
            (Truth::Unknown, "NotEstimated".to_owned())
        );
    }

    #[test]
    fn what_was_refused_by_its_sum_is_false_and_by_something_else_unknown() {
        let rejected = |reason| {
            let message = "8 of 4".into();
            let outcome = Outcome::Rejected(Rejection { reason, message });
            told(&seen(Fit::NotAsked), &outcome, &[], Some(&loaded()))
        };
        let too_large = rejected(conditions::MEMORY_TOO_SMALL);
        let expected = (
            Truth::False,
            "MemoryTooSmall".to_owned(),
            "8 of 4".to_owned(),
        );
        assert_eq!(too_large, expected);
        assert_eq!(rejected(conditions::INVALID_SPEC).0, Truth::Unknown);
    }

    #[test]
    fn what_the_server_or_the_kernel_found_is_false_and_stays_so_between_two_attempts() {
        for reason in ["InsufficientMemory", "OOMKilled"] {
            let failing = [Diagnosis::Failing(reason, "too much".into())];
            let estimated = seen(Fit::Fits("an estimate".into()));
            let found = told(&estimated, &applied(), &failing, None);
            let expected = (Truth::False, reason.to_owned(), "too much".to_owned());
            assert_eq!(found, expected);
            let mut observed = seen(Fit::NotAsked);
            observed.previous = serde_json::from_value(json!({"conditions": [{
                "type": "FitsMemory", "status": "False", "reason": reason, "message": "too much",
                "lastTransitionTime": NOW,
            }]}))
            .unwrap();
            assert_eq!(told(&observed, &applied(), &[], None), expected);
        }
    }

    #[test]
    fn a_refusal_of_another_configuration_is_not_told_of_the_one_that_the_pods_have() {
        let mut observed = seen(Fit::NotAsked);
        observed.previous = serde_json::from_value(json!({"conditions": [{
            "type": "FitsMemory", "status": "False", "reason": "MemoryTooSmall", "message": "8 of 4",
            "lastTransitionTime": NOW,
        }]}))
        .unwrap();
        assert_eq!(told(&observed, &applied(), &[], None).0, Truth::Unknown);
    }
}

//! Which values are taken, and what they mean to the engine.
use super::*;

#[test]
fn nothing_given_means_openais_defaults() {
    let controls = Parameters::default().validate(Counts::default()).unwrap();
    assert_eq!(
        controls,
        Controls {
            choices: 1,
            max_tokens: None,
            sampling: Sampling::default(),
            format: None,
            stop: vec![],
            min_tokens: 0,
            calls: None,
        }
    );
}

#[test]
fn the_edges_are_valid() {
    for (temperature, top_p) in [(0.0, 1.0), (2.0, 1e-9)] {
        let parameters = Parameters {
            temperature: Some(temperature),
            top_p: Some(top_p),
            seed: Some(-1),
            ..Parameters::default()
        };
        assert_eq!(
            parameters
                .validate(Counts::default())
                .unwrap()
                .sampling
                .seed,
            Some(u64::MAX)
        );
    }
}

#[test]
fn values_beyond_the_edges_are_refused_by_name() {
    type Set = fn(&mut Parameters, f64);
    let numbers: [(&str, Set, &[f64]); 6] = [
        (
            "temperature",
            |p, value| p.temperature = Some(value),
            &[-0.1, 2.1],
        ),
        ("top_p", |p, value| p.top_p = Some(value), &[0.0, 1.1]),
        ("min_p", |p, value| p.min_p = Some(value), &[-0.1, 1.1]),
        (
            "repetition_penalty",
            |p, value| p.repetition_penalty = Some(value),
            &[0.0, 2.1],
        ),
        (
            "presence_penalty",
            |p, value| p.presence_penalty = Some(value),
            &[-2.1, 2.1],
        ),
        (
            "frequency_penalty",
            |p, value| p.frequency_penalty = Some(value),
            &[-2.1, 2.1],
        ),
    ];
    for (name, set, values) in numbers {
        for &value in values.iter().chain(&[f64::NAN]) {
            let mut parameters = Parameters::default();
            set(&mut parameters, value);
            let error = parameters.validate(Counts::default()).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name));
            assert!(
                error.message.contains("write a number"),
                "{}",
                error.message
            );
        }
    }
}

#[test]
fn counts_beyond_the_edges_are_refused_by_name() {
    let counts = |n, max_tokens| Counts {
        n: Some(n),
        max_tokens: Some(max_tokens),
        logprobs: None,
    };
    let refused = |parameters: Parameters, counts| parameters.validate(counts).unwrap_err().param;
    for (name, counts) in [
        ("max_tokens", counts(1, 0)),
        ("n", counts(0, 1)),
        ("n", counts(129, 1)),
    ] {
        let param = refused(Parameters::default(), counts);
        assert_eq!(param.as_deref(), Some(name));
    }
    let parameters = Parameters {
        min_tokens: Some(3),
        ..Parameters::default()
    };
    assert!(parameters.clone().validate(counts(1, 3)).is_ok());
    assert_eq!(
        refused(parameters, counts(1, 2)).as_deref(),
        Some("min_tokens")
    );
    let parameters = Parameters {
        top_k: Some(-2),
        ..Parameters::default()
    };
    assert_eq!(refused(parameters, counts(1, 1)).as_deref(), Some("top_k"));
    for stops in [vec![String::new()], vec!["a".to_owned(); 5]] {
        let parameters = Parameters {
            stop: Some(Stop::Several(stops)),
            ..Parameters::default()
        };
        assert_eq!(refused(parameters, counts(1, 1)).as_deref(), Some("stop"));
    }
    assert!(likeliest("logprobs", 5, 5).is_ok());
    assert!(likeliest("logprobs", 6, 5).is_err());
}

#[test]
fn minus_one_and_zero_switch_top_k_off() {
    for (given, expected) in [(-1, None), (0, None), (1, Some(1)), (40, Some(40))] {
        let parameters = Parameters {
            top_k: Some(given),
            ..Parameters::default()
        };
        assert_eq!(
            parameters
                .validate(Counts::default())
                .unwrap()
                .sampling
                .top_k,
            expected
        );
    }
}

#[test]
fn a_bias_is_for_token_ids_within_a_hundred() {
    let biased = |token: &str, bias| Parameters {
        logit_bias: Some(LogitBias::from([(token.to_owned(), bias)])),
        ..Parameters::default()
    };
    let controls = biased("42", -100.0).validate(Counts::default()).unwrap();
    assert_eq!(controls.sampling.logit_bias, [(42, -100.0)]);
    for (token, bias) in [("42", 100.1), ("hello", 1.0), ("-1", 1.0)] {
        let error = biased(token, bias).validate(Counts::default()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("logit_bias"));
        assert!(error.message.contains(token), "{}", error.message);
    }
}

#[test]
fn what_says_when_an_answer_ends_contradicts_a_form_that_says_it_too() {
    let form = || {
        let schema = serde_json::json!({"type": "object"});
        ("response_format", GrammarSource::JsonSchema(schema))
    };
    let patient = |ignore_eos, min_tokens| Parameters {
        ignore_eos,
        min_tokens,
        ..Parameters::default()
    };
    for (field, parameters) in [
        ("ignore_eos", patient(true, None)),
        ("ignore_eos", patient(true, Some(3))),
        ("min_tokens", patient(false, Some(3))),
    ] {
        let controls = parameters.validate(Counts::default()).unwrap();
        assert!(controls.clone().in_form(None).is_ok());
        let error = controls.in_form(Some(form())).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(field));
        assert!(
            error.message.contains("response_format"),
            "{}",
            error.message
        );
    }
    let controls = patient(false, Some(0)).validate(Counts::default()).unwrap();
    let controls = controls.in_form(Some(form())).unwrap();
    assert_eq!(
        controls.format.map(|(field, _)| field),
        Some("response_format")
    );
}

//! What a sampler promises for a whole generation.
use super::*;

fn sampler(sampling: Sampling, prompt: &[u32]) -> Sampler {
    let request = GenerationRequest {
        prompt: prompt.to_vec(),
        max_tokens: 1,
        deadline: None,
        sampling,
    };
    Sampler::new(&request, &[0], 0)
}

fn greedy() -> Sampling {
    Sampling {
        temperature: 0.0,
        ..Sampling::default()
    }
}

fn token(sampler: &mut Sampler, logits: &[f32]) -> u32 {
    sampler.pick(logits.to_vec()).unwrap().token
}

#[test]
fn without_temperature_the_most_likely_token_is_picked_and_the_first_of_equals() {
    let mut sampler = sampler(greedy(), &[]);
    assert_eq!(token(&mut sampler, &[0.1, 3.0, 2.0, 3.0]), 1);
}

#[test]
fn the_same_seed_picks_the_same_tokens_and_another_seed_others() {
    for sampling in [
        Sampling::default(),
        Sampling {
            top_k: Some(500),
            top_p: 0.9,
            min_p: 0.1,
            ..Sampling::default()
        },
    ] {
        let picks = |seed| {
            let seeded = Sampling {
                seed: Some(seed),
                ..sampling.clone()
            };
            let mut sampler = sampler(seeded, &[]);
            (0..32)
                .map(|_| token(&mut sampler, &[0.0; 1000]))
                .collect::<Vec<_>>()
        };
        assert_eq!(picks(7), picks(7));
        assert_ne!(picks(7), picks(8));
    }
}

#[test]
fn logits_that_are_not_numbers_are_an_error() {
    for temperature in [0.0, 1.0] {
        let sampling = Sampling {
            temperature,
            ..Sampling::default()
        };
        assert!(matches!(
            sampler(sampling, &[]).pick(vec![0.0, f32::NAN]),
            Err(GenerationError::NotANumber)
        ));
    }
}

#[test]
fn penalties_move_a_greedy_answer_on() {
    let frequency = Sampling {
        frequency_penalty: 1.0,
        ..greedy()
    };
    let mut sampler = sampler(frequency, &[0]);
    let picks: Vec<_> = (0..4).map(|_| token(&mut sampler, &[3.0, 2.5])).collect();
    assert_eq!(picks, [0, 1, 0, 1]);
}

#[test]
fn bias_bans_and_forces_tokens() {
    let biased = Sampling {
        logit_bias: vec![(0, -100.0), (2, 100.0)],
        ..greedy()
    };
    assert_eq!(token(&mut sampler(biased, &[]), &[9.0, 8.0, -9.0]), 2);
}

#[test]
fn log_probabilities_are_the_models_own_whatever_changes_the_pick() {
    let biased = Sampling {
        logit_bias: vec![(0, -100.0)],
        logprobs: Some(1),
        ..greedy()
    };
    let picked = sampler(biased, &[]).pick(vec![0.0, 0.0]).unwrap();
    assert_eq!(picked.token, 1);
    let logprobs = picked.logprobs.unwrap();
    assert!((logprobs.picked - 0.5_f32.ln()).abs() < 1e-6);
    assert_eq!(logprobs.likeliest.len(), 1);
    assert_eq!(logprobs.likeliest[0].0, 0);
}

#[test]
fn the_model_cannot_end_an_answer_before_it_has_the_tokens_it_needs() {
    let patient = |min_tokens| Sampling {
        min_tokens,
        ..greedy()
    };
    let picks = |min_tokens| {
        let mut sampler = sampler(patient(min_tokens), &[]);
        let picks = (0..4).map(|_| token(&mut sampler, &[9.0, 1.0, 2.0]));
        picks.collect::<Vec<_>>()
    };
    assert_eq!(picks(0), [0, 0, 0, 0]);
    assert_eq!(picks(2), [2, 2, 0, 0]);
    assert_eq!(picks(Sampling::NEVER_ENDS), [2, 2, 2, 2]);
}

#[test]
fn an_end_that_is_withheld_hides_no_damage() {
    let sampling = Sampling {
        min_tokens: 1,
        ..greedy()
    };
    assert!(matches!(
        sampler(sampling, &[]).pick(vec![f32::NAN, 1.0]),
        Err(GenerationError::NotANumber)
    ));
}

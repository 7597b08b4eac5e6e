//! When open arrivals are due: fixed before the first request is sent, whatever the server does.
use super::{plan::Load, random::Random, trace::TracedRequest};
use std::time::Duration;

/// The random stream of arrival times, apart from those of requests.
const STREAM: u64 = u64::MAX;

/// One arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Arrival {
    /// Since the scenario's start.
    pub(super) due: Duration,
    /// Prompt and output tokens, where a trace says them.
    pub(super) lengths: Option<(u32, u32)>,
}

/// The arrivals of a load within `duration`; none for users.
pub(super) fn arrivals(load: &Load, seed: i64, duration: Duration) -> Vec<Arrival> {
    let timed = |due| Arrival { due, lengths: None };
    match load {
        Load::Users { .. } => Vec::new(),
        Load::Constant { rate } => constant(*rate, duration).map(timed).collect(),
        Load::Poisson { rate } => poisson(*rate, seed, duration).map(timed).collect(),
        Load::Replay(trace) => {
            let all = trace.iter().map(replayed);
            all.take_while(|one| one.due < duration).collect()
        }
    }
}

fn constant(rate: f64, duration: Duration) -> impl Iterator<Item = Duration> {
    let times = (0_u64..).map(move |place| Duration::from_secs_f64(place as f64 / rate));
    times.take_while(move |&due| due < duration)
}

fn poisson(rate: f64, seed: i64, duration: Duration) -> impl Iterator<Item = Duration> {
    let mut random = Random::new(seed, STREAM);
    let mut seconds = 0.0;
    let times = std::iter::repeat_with(move || {
        seconds += random.exponential() / rate;
        Duration::from_secs_f64(seconds)
    });
    times.take_while(move |&due| due < duration)
}

fn replayed(one: &TracedRequest) -> Arrival {
    Arrival {
        due: Duration::from_secs_f64(one.time),
        lengths: Some((one.prompt_tokens, one.output_tokens)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn constant_arrivals_have_equal_gaps_and_do_not_drift() {
        let all = arrivals(&Load::Constant { rate: 3.0 }, 1, MINUTE);
        assert_eq!(all.len(), 180);
        assert_eq!(all[0].due, Duration::ZERO);
        assert_eq!(all[150].due, Duration::from_secs(50));
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_same_times_for_a_seed() {
        let load = Load::Poisson { rate: 100.0 };
        let all = arrivals(&load, 1, MINUTE);
        let share = all.len() as f64 / 6000.0;
        assert!((share - 1.0).abs() < 0.04, "{share}");
        assert_eq!(all, arrivals(&load, 1, MINUTE));
        assert_ne!(all, arrivals(&load, 2, MINUTE));
        assert!(all.is_sorted_by_key(|one| one.due));
    }

    #[test]
    fn a_replay_keeps_times_and_lengths_and_ends_with_the_scenario() {
        let one = |time| TracedRequest {
            time,
            prompt_tokens: 7,
            output_tokens: 9,
        };
        let load = Load::Replay(vec![one(0.5), one(60.0)].into());
        let expected = Arrival {
            due: Duration::from_millis(500),
            lengths: Some((7, 9)),
        };
        assert_eq!(arrivals(&load, 1, MINUTE), [expected]);
    }
}

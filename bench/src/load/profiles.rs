//! The levels of load that have names.
use super::plan::{Invalid, Load, ScenarioPlan};
use candlepower_api::benchmark::{Profile, Scenario};
use std::time::Duration;

/// Name, users, users that start per second, and seconds of `standard` and `quick`.
const LEVELS: [(&str, u32, u32, [u64; 2]); 4] = [
    ("baseline", 10, 2, [5 * 60, 25]),
    ("medium", 25, 5, [10 * 60, 45]),
    ("high", 50, 10, [10 * 60, 45]),
    ("stress", 100, 20, [15 * 60, 65]),
];
/// Warm-up and cool-down of `standard` and `quick`. All users have started after 5 seconds.
const WARM_UP: [u64; 2] = [30, 10];
const COOL_DOWN: [u64; 2] = [30, 10];

/// The scenarios of a profile; `scenarios` are those of `custom`.
pub fn scenarios(profile: Profile, scenarios: &[Scenario]) -> Result<Vec<ScenarioPlan>, Invalid> {
    let column = match profile {
        Profile::Standard => 0,
        Profile::Quick => 1,
        Profile::Custom => return scenarios.iter().map(ScenarioPlan::of_resource).collect(),
    };
    let level = |(name, users, spawn_rate, seconds): (&str, u32, u32, [u64; 2])| ScenarioPlan {
        name: name.to_owned(),
        load: Load::Users { users, spawn_rate },
        duration: Duration::from_secs(seconds[column]),
        warm_up: Duration::from_secs(WARM_UP[column]),
        cool_down: Duration::from_secs(COOL_DOWN[column]),
    };
    Ok(LEVELS.into_iter().map(level).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(profile: Profile) -> Duration {
        let all = scenarios(profile, &[]).unwrap();
        all.iter().map(|one| one.duration).sum()
    }

    #[test]
    fn standard_takes_forty_minutes_and_quick_three() {
        assert_eq!(total(Profile::Standard), Duration::from_secs(40 * 60));
        assert_eq!(total(Profile::Quick), Duration::from_secs(3 * 60));
    }

    #[test]
    fn all_users_have_started_when_the_warm_up_ends() {
        for profile in [Profile::Standard, Profile::Quick] {
            for one in scenarios(profile, &[]).unwrap() {
                let Load::Users { users, spawn_rate } = one.load else {
                    panic!("{one:?}")
                };
                assert!(u64::from(users / spawn_rate) < one.warm_up.as_secs());
                assert!(one.warm_up * 2 < one.duration, "{one:?}");
            }
        }
    }
}

//! `spec.profile`: the levels of load that have names.
use super::Scenario;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A set of scenarios.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 10, 25, 50 and 100 users for 5, 10, 10 and 15 minutes.
    #[default]
    Standard,
    /// The same shape in about 3 minutes.
    Quick,
    /// The scenarios of the resource.
    Custom,
}

/// Users in a closed loop, for a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Level {
    /// Its name in the report.
    pub name: &'static str,
    /// Users that each wait for an answer before they ask again.
    pub users: u32,
    /// Users that start per second.
    pub spawn_rate: u32,
    /// How long the load lasts, warm-up included.
    pub duration: Duration,
    /// The beginning that does not count.
    pub warm_up: Duration,
    /// The end that does not count.
    pub cool_down: Duration,
}

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

impl Profile {
    /// Its levels in order, where it does not leave them to the resource's scenarios.
    pub fn levels(self) -> Option<[Level; LEVELS.len()]> {
        let column = match self {
            Self::Standard => 0,
            Self::Quick => 1,
            Self::Custom => return None,
        };
        Some(LEVELS.map(|(name, users, spawn_rate, seconds)| Level {
            name,
            users,
            spawn_rate,
            duration: Duration::from_secs(seconds[column]),
            warm_up: Duration::from_secs(WARM_UP[column]),
            cool_down: Duration::from_secs(COOL_DOWN[column]),
        }))
    }

    /// How long its load lasts, without what lies between the scenarios.
    pub fn longest(self, scenarios: &[Scenario]) -> Duration {
        let durations = match self.levels() {
            Some(levels) => levels.map(|level| level.duration).to_vec(),
            None => scenarios.iter().map(|one| one.duration.as_std()).collect(),
        };
        let durations = durations.into_iter();
        durations.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// How many scenarios it has.
    pub fn count(self, scenarios: &[Scenario]) -> usize {
        self.levels().map_or(scenarios.len(), |levels| levels.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_takes_forty_minutes_and_quick_three() {
        let longest = |profile: Profile| profile.longest(&[]).as_secs();
        assert_eq!(longest(Profile::Standard), 40 * 60);
        assert_eq!(longest(Profile::Quick), 3 * 60);
        assert_eq!(longest(Profile::Custom), 0);
    }

    #[test]
    fn standard_is_four_levels_of_users_that_start_at_their_own_rate() {
        let levels = Profile::Standard.levels().unwrap();
        let table = levels.map(|one| (one.users, one.spawn_rate, one.duration.as_secs() / 60));
        assert_eq!(
            table,
            [(10, 2, 5), (25, 5, 10), (50, 10, 10), (100, 20, 15)]
        );
        let quick = Profile::Quick.levels().unwrap();
        let shape = |one: Level| (one.name, one.users, one.spawn_rate);
        assert_eq!(quick.map(shape), levels.map(shape));
    }

    #[test]
    fn all_users_have_started_when_the_warm_up_ends() {
        for profile in [Profile::Standard, Profile::Quick] {
            for level in profile.levels().unwrap() {
                let started = u64::from(level.users / level.spawn_rate);
                assert!(started < level.warm_up.as_secs(), "{level:?}");
                assert!(level.warm_up + level.cool_down < level.duration);
            }
        }
    }

    #[test]
    fn the_resources_scenarios_count_where_the_profile_leaves_it_to_them() {
        let scenario = |duration: &str| -> Scenario {
            let scenario = serde_json::json!({"name": "a", "users": 1, "duration": duration});
            serde_json::from_value(scenario).unwrap()
        };
        let own = [scenario("1m"), scenario("30s")];
        assert_eq!(Profile::Custom.count(&own), 2);
        assert_eq!(Profile::Custom.longest(&own), Duration::from_secs(90));
        assert_eq!(Profile::Quick.count(&own), 4);
    }
}

//! The scenarios of a profile.
use super::plan::{Invalid, Load, ScenarioPlan};
use candlepower_api::benchmark::{Level, Profile, Scenario};

/// The scenarios of a profile; `scenarios` are those of `custom`.
pub fn scenarios(profile: Profile, scenarios: &[Scenario]) -> Result<Vec<ScenarioPlan>, Invalid> {
    let Some(levels) = profile.levels() else {
        return scenarios.iter().map(ScenarioPlan::of_resource).collect();
    };
    Ok(levels.into_iter().map(ScenarioPlan::from).collect())
}

impl From<Level> for ScenarioPlan {
    fn from(level: Level) -> Self {
        let Level {
            name,
            users,
            spawn_rate,
            duration,
            warm_up,
            cool_down,
        } = level;
        Self {
            name: name.to_owned(),
            load: Load::Users { users, spawn_rate },
            duration,
            warm_up,
            cool_down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_with_levels_of_its_own_does_not_look_at_the_resources_scenarios() {
        let own: Scenario = serde_json::from_value(serde_json::json!({
            "name": "own", "users": 3, "duration": "1m",
        }))
        .unwrap();
        let names = |profile| {
            let all = scenarios(profile, std::slice::from_ref(&own)).unwrap();
            all.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Profile::Custom), ["own"]);
        assert_eq!(
            names(Profile::Quick),
            ["baseline", "medium", "high", "stress"]
        );
    }
}

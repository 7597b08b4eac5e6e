//! Reasons in `status.autoscaling`, and of the events that tell of a change.

/// Pods were added, because there were more requests than the pods hold.
pub const LOAD_ROSE: &str = "LoadRose";
/// Pods were removed, because fewer hold all requests.
pub const LOAD_FELL: &str = "LoadFell";
/// `minReplicas` or `maxReplicas` moved the number.
pub const LIMITS_CHANGED: &str = "LimitsChanged";
/// More pods would be needed than `maxReplicas` allows.
pub const AT_MAXIMUM: &str = "AtMaximum";
/// A pod that serves gives no metrics, so that no pod is removed.
pub const FIGURES_MISSING: &str = "FiguresMissing";
/// The pods hold the requests, and the number is as it was found.
pub const ENOUGH: &str = "Enough";

#[cfg(test)]
mod tests {
    const PAGE: &str = include_str!("../../../docs/autoscaling.md");

    #[test]
    fn the_page_explains_every_reason() {
        let names = include_str!("scaling.rs")
            .lines()
            .filter(|line| line.starts_with("pub const"))
            .filter_map(|line| line.split('"').nth(1));
        let missing: Vec<_> = names
            .filter(|name| !PAGE.contains(&format!("| `{name}` |")))
            .collect();
        assert_eq!(
            missing,
            Vec::<&str>::new(),
            "docs/autoscaling.md lacks these"
        );
    }
}

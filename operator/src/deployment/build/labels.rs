//! Labels of the children.
use candlepower_api::names::labels;
use std::collections::BTreeMap;

/// All labels of a child of the resource `name`.
pub(in crate::deployment) fn all(name: &str) -> BTreeMap<String, String> {
    let mut all = selector(name);
    all.extend([
        (labels::APP_INSTANCE.to_owned(), name.to_owned()),
        (
            labels::APP_COMPONENT.to_owned(),
            labels::SERVER_COMPONENT.to_owned(),
        ),
        (
            labels::APP_MANAGED_BY.to_owned(),
            labels::OPERATOR_NAME.to_owned(),
        ),
    ]);
    all
}

/// The labels that pods are found by. They can never change, so they are as few as possible.
pub(in crate::deployment) fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::APP_NAME.to_owned(), labels::SERVER_NAME.to_owned()),
        (labels::LLM_DEPLOYMENT.to_owned(), name.to_owned()),
    ])
}

/// The same as text, for the scale subresource.
pub(in crate::deployment) fn selector_text(name: &str) -> String {
    let pairs: Vec<_> = selector(name)
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_found_by_labels_that_all_children_carry() {
        let labels = all("tiny");
        assert!(
            selector("tiny")
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        );
        assert_eq!(
            selector_text("tiny"),
            "app.kubernetes.io/name=candlepower-server,candlepower.dev/llmdeployment=tiny"
        );
    }
}

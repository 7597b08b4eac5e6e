//! The schema of a report's JSON form.
use super::Report;
use schemars::{Schema, generate::SchemaSettings};

/// The schema, as `docs/reference/report.schema.json` has it.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Report>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = include_str!("../../../docs/reference/report.schema.json");

    #[test]
    fn the_published_schema_is_that_of_the_report() {
        let published: serde_json::Value = serde_json::from_str(PUBLISHED).unwrap();
        let now = serde_json::to_value(schema()).unwrap();
        assert!(
            published == now,
            "write it anew: candlepower report-schema > docs/reference/report.schema.json"
        );
    }
}

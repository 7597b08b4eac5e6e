//! JSON values as what they stand for.
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What `value` stands for, or what is wrong with it.
///
/// It goes by way of the text. `serde_json::from_value` is code of its own for each type, and for those of a pod that
/// makes the operator's binary larger by several hundred kilobytes.
pub fn read_json<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_str(&value.to_string()).map_err(|error| {
        let message = error.to_string();
        // The place in a text that nobody sees helps nobody.
        message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(what, _)| what)
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_kind_is_told_without_its_place_in_the_text() {
        assert_eq!(read_json::<Vec<u8>>(&json!([1, 2])), Ok(vec![1, 2]));
        let message = read_json::<Vec<u8>>(&json!("a")).unwrap_err();
        assert_eq!(message, "invalid type: string \"a\", expected a sequence");
    }
}

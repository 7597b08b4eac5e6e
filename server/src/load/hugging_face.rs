//! The files beside safetensors that say what the model is and how to talk to it.
use super::{error::LoadError, open};
use crate::{
    load::gguf::Metadata,
    text::{ChatTemplate, Tokenizer},
};
use candle_core::quantized::gguf_file::Value as GgufValue;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A model's folder as Hugging Face lays it out.
#[derive(Debug)]
pub struct HuggingFaceFolder {
    folder: PathBuf,
    config: Map<String, Value>,
}

impl HuggingFaceFolder {
    /// Reads what the folder says about the model.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let config = folder.join("config.json");
        if !config.is_file() {
            return Err(LoadError::InvalidConfiguration(format!(
                "{} has no config.json: write the path of a GGUF file, or of a folder with config.json and safetensors files, into model.source",
                folder.display()
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
            config: read_object(&config)?,
        })
    }

    /// What the model is.
    pub const fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The tokenizer in `named`, or in the folder.
    pub fn tokenizer(&self, named: Option<&Path>) -> Result<Tokenizer, LoadError> {
        let own = self.folder.join("tokenizer.json");
        let path = named.unwrap_or(&own);
        if !path.is_file() {
            return Err(LoadError::NotFound(path.to_owned()));
        }
        Ok(Tokenizer::from_file(path, &self.end_tokens()?)?)
    }

    /// The tokens that end an answer, as the tokenizer looks for them.
    fn end_tokens(&self) -> Result<Metadata, LoadError> {
        let generation = self.optional("generation_config.json")?;
        let ids = [generation.as_ref(), Some(&self.config)]
            .into_iter()
            .flatten()
            .find_map(|object| object.get("eos_token_id").filter(|ids| !ids.is_null()));
        let ids = match ids {
            Some(Value::Array(ids)) => ids.as_slice(),
            Some(id) => std::slice::from_ref(id),
            None => &[],
        };
        let ids = ids
            .iter()
            .filter_map(|id| u32::try_from(id.as_u64()?).ok())
            .map(GgufValue::U32)
            .collect();
        let list = (
            "tokenizer.ggml.eos_token_ids".to_owned(),
            GgufValue::Array(ids),
        );
        Ok(std::iter::once(list).collect())
    }

    /// The chat template, where the model has one.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, LoadError> {
        let settings = self.optional("tokenizer_config.json")?.unwrap_or_default();
        let file = self.folder.join("chat_template.jinja");
        let source = if file.is_file() {
            Some(open::text(&file)?)
        } else {
            template(settings.get("chat_template")).map(str::to_owned)
        };
        let Some(source) = source else {
            return Ok(None);
        };
        let token = |name: &str| token_text(settings.get(name));
        let template = ChatTemplate::compile(&source, token("bos_token"), token("eos_token"))?;
        Ok(Some(template))
    }

    fn optional(&self, name: &str) -> Result<Option<Map<String, Value>>, LoadError> {
        let path = self.folder.join(name);
        path.is_file().then(|| read_object(&path)).transpose()
    }
}

/// One template, or the default one of several.
fn template(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(template) => Some(template),
        Value::Array(templates) => templates
            .iter()
            .find(|template| template.get("name").is_some_and(|name| name == "default"))
            .and_then(|template| template.get("template")?.as_str()),
        _ => None,
    }
}

/// A special token: its text, or an object around it.
fn token_text(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::Object(token)) => token.get("content").and_then(Value::as_str),
        Some(value) => value.as_str(),
        None => None,
    };
    text.unwrap_or_default().to_owned()
}

fn read_object(path: &Path) -> Result<Map<String, Value>, LoadError> {
    serde_json::from_str(&open::text(path)?).map_err(|error| LoadError::corrupt(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ChatMessage;
    use std::fs;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<HuggingFaceFolder, LoadError>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let opened = HuggingFaceFolder::open(folder.path());
        (folder, opened)
    }

    fn prompt(files: &[(&str, &str)]) -> Option<String> {
        let template = folder(files).1.unwrap().chat_template();
        let hello = [ChatMessage {
            role: "user".into(),
            content: "hi".into(),
            ..ChatMessage::default()
        }];
        template
            .unwrap()
            .map(|template| template.render(&hello).unwrap())
    }

    #[test]
    fn a_folder_without_a_description_says_what_belongs_there() {
        let error = folder(&[]).1.unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
    }

    #[test]
    fn a_damaged_description_is_named() {
        let error = folder(&[("config.json", "[")]).1.unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn the_template_is_where_a_version_of_transformers_put_it() {
        let config = ("config.json", "{}");
        let single =
            r#"{"chat_template":"{{bos_token}}{{messages[0].content}}","bos_token":"<s>"}"#;
        assert_eq!(
            prompt(&[config, ("tokenizer_config.json", single)]).unwrap(),
            "<s>hi"
        );
        let named = r#"{"bos_token":{"content":"<b>"},"chat_template":[{"name":"tool","template":"x"},{"name":"default","template":"{{bos_token}}!"}]}"#;
        assert_eq!(
            prompt(&[config, ("tokenizer_config.json", named)]).unwrap(),
            "<b>!"
        );
        let file = ("chat_template.jinja", "{{messages[0].role}}");
        assert_eq!(
            prompt(&[config, file, ("tokenizer_config.json", single)]).unwrap(),
            "user"
        );
        assert_eq!(prompt(&[config]), None);
    }

    #[test]
    fn the_generation_settings_say_what_ends_an_answer() {
        let tokenizer = r#"{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]}}"#;
        let config = ("config.json", r#"{"eos_token_id":1}"#);
        let files = [config, ("tokenizer.json", tokenizer)];
        let (_folder, opened) = folder(&files);
        assert_eq!(opened.unwrap().tokenizer(None).unwrap().end_tokens(), [1]);
        let generation = ("generation_config.json", r#"{"eos_token_id":[5,3,7]}"#);
        let (_folder, opened) = folder(&[config, ("tokenizer.json", tokenizer), generation]);
        assert_eq!(
            opened.unwrap().tokenizer(None).unwrap().end_tokens(),
            [3, 5, 7]
        );
    }
}

//! What a source holds, and which of it makes a model.
use super::error::FetchError;
use crate::load::safetensors::INDEX;
use candlepower_api::weights::{NoChoice, Weights, choose, extension, is_shard};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};
use url::Url;

/// What describes safetensors, and how to talk to them.
pub(super) const DESCRIPTION: &str = "config.json";
/// The tokenizer's file.
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// The same, where a model has it.
pub(super) const FURTHER: [&str; 3] = [
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];
/// Most names in a message.
const NAMED: usize = 8;

/// A file that can be fetched.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct RemoteFile {
    /// Its path in the source.
    pub(super) name: String,
    /// Its bytes, where the source tells.
    pub(super) size: Option<u64>,
    /// Its SHA-256, where the source tells.
    pub(super) sha256: Option<String>,
    /// Where it is, where its name alone does not tell.
    pub(super) url: Option<Url>,
    /// Nothing is missing without it.
    pub(super) optional: bool,
}

impl RemoteFile {
    /// Known by its name only.
    pub(super) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: None,
            sha256: None,
            url: None,
            optional: false,
        }
    }
}

/// What a source holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// All files.
    pub(super) files: Vec<RemoteFile>,
    /// Which commit or digest this is.
    pub(super) version: Option<String>,
}

/// What is to be fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Selection {
    pub(super) files: Vec<RemoteFile>,
    /// The file to open; empty for the folder of all.
    pub(super) open: String,
}

/// What one wants of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part<'a> {
    /// The model, or of several the one whose file this pattern fits.
    Model(Option<&'a str>),
    /// The tokenizer only.
    Tokenizer,
}

/// Chooses out of `files`, which come from `source`.
pub(super) fn select(
    files: &[RemoteFile],
    source: &str,
    part: Part<'_>,
) -> Result<Selection, FetchError> {
    if let Some(file) = files.iter().find(|file| !stays_inside(&file.name)) {
        return Err(FetchError::Invalid(format!(
            "{source} holds a file called {:?}, which would lie outside of the cache: use another source",
            file.name
        )));
    }
    let pattern = match part {
        Part::Tokenizer => return tokenizer(files, source),
        Part::Model(pattern) => pattern,
    };
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    match choose(&names, pattern) {
        Ok(Weights::Gguf(name)) => Ok(gguf(files, name)),
        Ok(Weights::SafeTensors(names)) => described(files, source, &names),
        Err(none) => Err(no_choice(&none, source, pattern)),
    }
}

/// What to write, so that one model is chosen.
fn no_choice(none: &NoChoice<'_>, source: &str, pattern: Option<&str>) -> FetchError {
    match (none, pattern) {
        (NoChoice::Nothing { there }, Some(pattern)) => FetchError::NotFound {
            what: format!("a file like {pattern} in {source}"),
            cure: format!("correct model.file; there are {}", listed(there)),
        },
        (NoChoice::Nothing { .. }, None) => FetchError::NotFound {
            what: format!("a GGUF or safetensors file in {source}"),
            cure: "use a model that has one".to_owned(),
        },
        (NoChoice::Several(found), Some(pattern)) => FetchError::Invalid(format!(
            "model.file is {pattern}, which fits several files of {source}: write it so that it fits one of {}",
            listed(found)
        )),
        (NoChoice::Several(found), None) => FetchError::Invalid(format!(
            "{source} holds several models: write one of them into model.file, which are {}",
            listed(found)
        )),
    }
}

fn tokenizer(files: &[RemoteFile], source: &str) -> Result<Selection, FetchError> {
    let found = files.iter().find(|file| file.name == TOKENIZER);
    let found = found.or_else(|| match files {
        [only] if extension(&only.name) == "json" => Some(only),
        _ => None,
    });
    found.map_or_else(
        || {
            Err(FetchError::NotFound {
                what: format!("a {TOKENIZER} in {source}"),
                cure: "correct model.tokenizer".to_owned(),
            })
        },
        |file| {
            Ok(Selection {
                open: file.name.clone(),
                files: vec![file.clone()],
            })
        },
    )
}

/// A GGUF file, and the tokenizer beside it, for the case that its own is of an unknown kind.
fn gguf(files: &[RemoteFile], name: &str) -> Selection {
    let beside = match name.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{TOKENIZER}"),
        None => TOKENIZER.to_owned(),
    };
    let find = |name: &str| files.iter().find(|file| file.name == name).cloned();
    Selection {
        open: name.to_owned(),
        files: [find(name), find(&beside)].into_iter().flatten().collect(),
    }
}

/// Safetensors, with what describes them.
fn described(
    files: &[RemoteFile],
    source: &str,
    weights: &[&str],
) -> Result<Selection, FetchError> {
    let find = |name: &str| files.iter().find(|file| file.name == name).cloned();
    let needed = |name: &str| {
        find(name).ok_or_else(|| FetchError::NotFound {
            what: format!("{name} in {source}"),
            cure: "safetensors need it beside them: use the whole repository of the model, or a GGUF file".to_owned(),
        })
    };
    let open = match weights {
        [single] if !is_shard(single) => (*single).to_owned(),
        _ => String::new(),
    };
    let mut chosen = vec![needed(DESCRIPTION)?, needed(TOKENIZER)?];
    chosen.extend(FURTHER.into_iter().filter_map(find));
    if open.is_empty() {
        chosen.push(needed(INDEX)?);
    }
    chosen.extend(weights.iter().filter_map(|name| find(name)));
    Ok(Selection {
        files: chosen,
        open,
    })
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED {
        text += " and others";
    }
    text
}

fn stays_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<RemoteFile> {
        names.iter().copied().map(RemoteFile::named).collect()
    }

    fn chosen(names: &[&str], pattern: Option<&str>) -> (Vec<String>, String) {
        let selection = select(&files(names), "hf://a/b", Part::Model(pattern)).unwrap();
        let names = selection.files.into_iter().map(|file| file.name).collect();
        (names, selection.open)
    }

    fn refused(names: &[&str], pattern: Option<&str>) -> String {
        let refused = select(&files(names), "hf://a/b", Part::Model(pattern));
        refused.unwrap_err().to_string()
    }

    const SHARDED: [&str; 9] = [
        "README.md",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "onnx/model.onnx",
        "original/consolidated.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];

    #[test]
    fn of_a_repository_all_shards_and_what_describes_them_are_fetched_and_nothing_else() {
        let (mut names, open) = chosen(&SHARDED, None);
        names.sort();
        assert_eq!(
            names,
            [
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "tokenizer.json",
                "tokenizer_config.json",
            ]
        );
        assert_eq!(open, "", "the folder");
    }

    #[test]
    fn a_single_file_of_safetensors_is_opened_by_its_name() {
        let (names, open) = chosen(
            &["config.json", "model.safetensors", "tokenizer.json"],
            None,
        );
        assert_eq!((names.len(), open.as_str()), (3, "model.safetensors"));
    }

    #[test]
    fn the_only_gguf_needs_no_pattern_and_one_of_several_does() {
        assert_eq!(
            chosen(&["a.gguf", "README.md"], None),
            (vec!["a.gguf".to_owned()], "a.gguf".to_owned())
        );
        let several = ["m.Q4_K_M.gguf", "m.Q8_0.gguf"];
        let message = refused(&several, None);
        assert!(
            message.contains("model.file") && message.contains("m.Q8_0.gguf"),
            "{message}"
        );
        assert_eq!(chosen(&several, Some("*Q4_K_M.gguf")).0, ["m.Q4_K_M.gguf"]);
    }

    #[test]
    fn a_pattern_fits_names_in_folders_and_brings_the_tokenizer_beside_it() {
        let held = ["q4/m.gguf", "q4/tokenizer.json", "q8/m8.gguf"];
        let (names, open) = chosen(&held, Some("m.gguf"));
        assert_eq!(names, ["q4/m.gguf", "q4/tokenizer.json"]);
        assert_eq!(open, "q4/m.gguf");
        assert_eq!(chosen(&held, Some("q8/*")).1, "q8/m8.gguf");
    }

    #[test]
    fn a_pattern_that_fits_nothing_or_too_much_says_what_there_is() {
        let held = ["m.Q4_K_M.gguf", "m.Q4_K_S.gguf"];
        let nothing = refused(&held, Some("*Q9*"));
        assert!(nothing.contains("m.Q4_K_S.gguf"), "{nothing}");
        let much = refused(&held, Some("*Q4*"));
        assert!(much.contains("fits several"), "{much}");
    }

    #[test]
    fn safetensors_without_their_description_are_refused() {
        let message = refused(&["model.safetensors", "tokenizer.json"], None);
        assert!(message.contains("config.json"), "{message}");
    }

    #[test]
    fn a_name_that_leads_out_of_the_cache_is_refused() {
        for name in ["../a.gguf", "/etc/a.gguf", "a/../../b.gguf"] {
            let message = refused(&[name], None);
            assert!(message.contains("outside of the cache"), "{message}");
        }
    }

    #[test]
    fn of_a_repository_named_as_tokenizer_one_file_is_fetched() {
        let selection = select(&files(&SHARDED), "hf://a/b", Part::Tokenizer).unwrap();
        assert_eq!(selection.open, "tokenizer.json");
        assert_eq!(selection.files.len(), 1);
    }
}

//! Which files of a source are the model's weights. The server fetches them; the operator asks for their sizes.
use std::{ffi::OsStr, path::Path};
use wildmatch::WildMatch;

/// The name of a single file of safetensors.
pub const SINGLE: &str = "model.safetensors";

/// The weights among the files of a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Weights<'a> {
    /// One file that describes itself.
    Gguf(&'a str),
    /// One file, or the shards of an index, with a `config.json` beside it.
    SafeTensors(Vec<&'a str>),
}

/// Why the names do not say which files to take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoChoice<'a> {
    /// None is what was asked for.
    Nothing {
        /// What could be asked for.
        there: Vec<&'a str>,
    },
    /// Each of these is a model.
    Several(Vec<&'a str>),
}

/// Chooses out of the files with these `names`: the one that `pattern` fits, by its name or its whole path, or the only
/// one. Shards count as one.
pub fn choose<'a>(names: &[&'a str], pattern: Option<&str>) -> Result<Weights<'a>, NoChoice<'a>> {
    let found = match pattern {
        Some(pattern) => fitting(names, pattern),
        None => unasked(names),
    };
    match found[..] {
        [] => Err(NoChoice::Nothing {
            there: models(names),
        }),
        [name] if extension(name) == "safetensors" => Ok(Weights::SafeTensors(found)),
        [name] => Ok(Weights::Gguf(name)),
        _ if found.iter().all(|name| is_shard(name)) => Ok(Weights::SafeTensors(found)),
        _ => Err(NoChoice::Several(found)),
    }
}

/// Those that the pattern fits.
fn fitting<'a>(names: &[&'a str], pattern: &str) -> Vec<&'a str> {
    let wanted = WildMatch::new(pattern);
    let fits = |name: &&str| {
        let is_weights = ["gguf", "safetensors"].contains(&extension(name));
        let base = name.rsplit('/').next().unwrap_or(name);
        (is_weights && (wanted.matches(name) || wanted.matches(base))) || *name == pattern
    };
    names.iter().copied().filter(fits).collect()
}

/// Those that are the model where nobody says more: safetensors before GGUF.
fn unasked<'a>(names: &[&'a str]) -> Vec<&'a str> {
    if let Some(single) = names.iter().find(|name| **name == SINGLE) {
        return vec![*single];
    }
    let shards: Vec<_> = names
        .iter()
        .copied()
        .filter(|name| is_shard(name))
        .collect();
    if shards.is_empty() {
        models(names)
    } else {
        shards
    }
}

/// Files that may be a model each. Safetensors in folders are parts of something else.
fn models<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let is_model = |name: &&str| match extension(name) {
        "gguf" => true,
        "safetensors" => !name.contains('/'),
        _ => false,
    };
    names.iter().copied().filter(is_model).collect()
}

/// What stands behind the name's last point.
pub fn extension(name: &str) -> &str {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.unwrap_or_default()
}

/// Whether this is one of several files that an index holds together, as in `model-00001-of-00002.safetensors`.
pub fn is_shard(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("model-")
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .and_then(|rest| rest.split_once("-of-"))
        .is_some_and(|(index, count)| number(index) && number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_one_model_and_go_before_a_gguf() {
        let shards = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        let names = ["a.gguf", shards[0], "original/x.safetensors", shards[1]];
        let all = Ok(Weights::SafeTensors(shards.to_vec()));
        assert_eq!(choose(&names, None), all);
        assert_eq!(choose(&names, Some("model-*")), all);
        assert_eq!(
            choose(&names, Some("model-00001*")),
            Ok(Weights::SafeTensors(vec![shards[0]]))
        );
    }

    #[test]
    fn the_only_file_needs_no_pattern_and_one_of_several_does() {
        assert_eq!(
            choose(&["README.md", "a.gguf"], None),
            Ok(Weights::Gguf("a.gguf"))
        );
        let names = ["q4/m.gguf", "q8/m8.gguf"];
        assert_eq!(choose(&names, None), Err(NoChoice::Several(names.to_vec())));
        assert_eq!(choose(&names, Some("m.gguf")), Ok(Weights::Gguf(names[0])));
        assert_eq!(choose(&names, Some("q8/*")), Ok(Weights::Gguf(names[1])));
    }

    #[test]
    fn where_nothing_fits_it_is_told_what_could() {
        let names = ["README.md", "m.gguf", "part/x.safetensors"];
        let nothing = Err(NoChoice::Nothing {
            there: vec!["m.gguf"],
        });
        assert_eq!(choose(&names, Some("*Q9*")), nothing);
        assert!(choose(&["README.md"], None).is_err());
    }

    #[test]
    fn a_whole_name_is_taken_whatever_it_is() {
        assert_eq!(
            choose(&["weights.bin", "a.gguf"], Some("weights.bin")),
            Ok(Weights::Gguf("weights.bin"))
        );
    }
}

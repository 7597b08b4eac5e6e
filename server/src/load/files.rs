//! What a model's path names: a GGUF file, a safetensors file, or a folder of them.
use super::{
    checksum,
    error::LoadError,
    gguf::GgufFile,
    hugging_face::HuggingFaceFolder,
    safetensors::{INDEX, SafeTensorsFiles},
    source::WeightSource,
};
use crate::{
    model::Description,
    text::{ChatTemplate, Tokenizer},
};
use std::path::Path;

/// The open files of one model.
#[derive(Debug)]
pub enum ModelFiles {
    /// Everything in one file.
    Gguf(GgufFile),
    /// Weights, and a folder that describes them.
    HuggingFace(SafeTensorsFiles, HuggingFaceFolder),
}

impl ModelFiles {
    /// Opens what `path` names and checks its headers.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let (weights, folder) = if path.is_dir() {
            // A folder without a description is the likelier mistake: it is looked for first.
            let folder = HuggingFaceFolder::open(path)?;
            (SafeTensorsFiles::open_folder(path)?, folder)
        } else if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            let beside = path.parent().unwrap_or(Path::new("."));
            if beside.join(INDEX).is_file() {
                return Err(LoadError::InvalidConfiguration(format!(
                    "{} is one of several files: write the path of their folder into model.source",
                    path.display()
                )));
            }
            (
                SafeTensorsFiles::open(path)?,
                HuggingFaceFolder::open(beside)?,
            )
        } else {
            return Ok(Self::Gguf(GgufFile::open(path)?));
        };
        Ok(Self::HuggingFace(weights, folder))
    }

    /// Where the weights are stored.
    pub fn weights(&self) -> &dyn WeightSource {
        match self {
            Self::Gguf(file) => file,
            Self::HuggingFace(files, _) => files,
        }
    }

    /// What the model is.
    pub const fn description(&self) -> Description<'_> {
        match self {
            Self::Gguf(file) => Description::Gguf(file.metadata()),
            Self::HuggingFace(_, folder) => Description::Config(folder.config()),
        }
    }

    /// Checks the file of the weights against `expected`. `progress` is told the percentage done.
    pub fn verify(&self, expected: &str, progress: &dyn Fn(u8)) -> Result<(), LoadError> {
        let (path, bytes) = match self {
            Self::Gguf(file) => (file.path(), file.bytes()),
            Self::HuggingFace(files, _) => files.single().ok_or_else(|| {
                LoadError::InvalidConfiguration(format!(
                    "model.sha256 is of one file, but {} holds several: leave it out",
                    files.path().display()
                ))
            })?,
        };
        checksum::verify(path, bytes, expected, progress)
    }

    /// The tokenizer in `named`, or the weights' own, or a `tokenizer.json` beside the weights
    /// where their own is of a kind that is not built in.
    pub fn tokenizer(&self, named: Option<&Path>) -> Result<Tokenizer, LoadError> {
        let file = match self {
            Self::HuggingFace(_, folder) => return folder.tokenizer(named),
            Self::Gguf(file) => file,
        };
        if let Some(path) = named {
            return Ok(Tokenizer::from_file(path, file.metadata())?);
        }
        match Tokenizer::from_gguf(file.metadata()) {
            Ok(tokenizer) => Ok(tokenizer),
            Err(error) => {
                let beside = file.path().with_file_name("tokenizer.json");
                if beside.is_file() {
                    Ok(Tokenizer::from_file(&beside, file.metadata())?)
                } else {
                    Err(error.into())
                }
            }
        }
    }

    /// The chat template, where the model has one.
    pub fn chat_template(&self, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, LoadError> {
        let metadata = match self {
            Self::HuggingFace(_, folder) => return folder.chat_template(),
            Self::Gguf(file) => file.metadata(),
        };
        let Some(source) = metadata.text("tokenizer.chat_template") else {
            return Ok(None);
        };
        let token = |key: &str| {
            let id = metadata.unsigned32(key);
            id.and_then(|id| tokenizer.token(id)).unwrap_or_default()
        };
        let template = ChatTemplate::compile(
            source,
            token("tokenizer.ggml.bos_token_id"),
            token("tokenizer.ggml.eos_token_id"),
        )?;
        Ok(Some(template))
    }
}

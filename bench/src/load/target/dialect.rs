//! Which fields beyond OpenAI's own a target takes, found out by sending them.
use crate::{
    load::{
        client::{CHAT, Client, Failure},
        events::Chunk,
        requests,
    },
    record::{ErrorClass, Micros},
};
use hyper::Method;
use std::time::{Duration, Instant};

/// What a target takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dialect {
    /// How answers are given their lengths.
    pub lengths: Lengths,
    /// Whether `stream_options.include_usage` is taken.
    pub stream_usage: bool,
}

/// How answers are given their lengths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lengths {
    /// `ignore_eos: true`: answers go on to `max_tokens`.
    IgnoreEos,
    /// `min_tokens` as large as `max_tokens`.
    MinTokens,
    /// `max_tokens` alone: answers may be shorter.
    Limit,
}

impl Lengths {
    /// In words, for the record; `shorter` of `all` answers had fewer tokens than were asked for.
    pub fn words(self, shorter: usize, all: usize) -> String {
        let field = match self {
            Self::IgnoreEos => "ignore_eos",
            Self::MinTokens => "min_tokens",
            Self::Limit => {
                return "limited with max_tokens only, because the target takes neither ignore_eos nor min_tokens: answers may be shorter".to_owned();
            }
        };
        match (all, shorter) {
            (0, _) => format!("asked for with {field}"),
            (_, 0) => format!("enforced with {field}"),
            _ => format!(
                "asked for with {field}, which the target does not keep to: {shorter} of {all} answers are shorter"
            ),
        }
    }
}

/// Asks a target.
pub(super) struct Questions<'a> {
    pub(super) client: &'a Client,
    pub(super) model: &'a str,
    pub(super) patience: Duration,
}

/// A prompt that says nothing.
const PROMPT: &str = "Hello";

impl Questions<'_> {
    /// What the target takes, and how long the first answer took: a model may be loaded for it.
    pub(super) async fn dialect(&self) -> Result<(Dialect, Micros), Failure> {
        let mut dialect = Dialect {
            lengths: Lengths::Limit,
            stream_usage: true,
        };
        let mut first_answer = 0;
        // A field that is refused is no failure; a target that refuses everything is.
        for lengths in [Lengths::IgnoreEos, Lengths::MinTokens, Lengths::Limit] {
            dialect.lengths = lengths;
            let asked = Instant::now();
            match self.ask(PROMPT, false, dialect).await {
                Ok(_) => {
                    first_answer = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                    break;
                }
                Err(failure) if is_refusal(&failure) && lengths != Lengths::Limit => {}
                Err(failure) => return Err(failure),
            }
        }
        if let Err(failure) = self.ask(PROMPT, true, dialect).await {
            if !is_refusal(&failure) {
                return Err(failure);
            }
            dialect.stream_usage = false;
        }
        Ok((dialect, first_answer))
    }

    /// Why the target refuses to stream, where it does; that it takes no `stream_options` is known by then.
    pub(super) async fn refuses_streams(
        &self,
        dialect: Dialect,
    ) -> Result<Option<Failure>, Failure> {
        if dialect.stream_usage {
            return Ok(None);
        }
        match self.ask(PROMPT, true, dialect).await {
            Ok(_) => Ok(None),
            Err(failure) if is_refusal(&failure) => Ok(Some(failure)),
            Err(failure) => Err(failure),
        }
    }

    /// The target's count of a prompt's tokens, where it reports one.
    pub(super) async fn prompt_tokens(
        &self,
        prompt: &str,
        dialect: Dialect,
    ) -> Result<Option<u32>, Failure> {
        let answer = self.ask(prompt, false, dialect).await?;
        let answer = Chunk::parse(&answer)
            .map_err(|error| Failure::new(ErrorClass::Protocol, error.to_string()))?;
        Ok(answer.usage.and_then(|usage| usage.prompt_tokens))
    }

    async fn ask(
        &self,
        prompt: &str,
        stream: bool,
        dialect: Dialect,
    ) -> Result<hyper::body::Bytes, Failure> {
        let body = requests::body(self.model, prompt, 1, stream, dialect);
        self.client
            .ask(Method::POST, CHAT, body, self.patience)
            .await
    }
}

/// A request that is wrong, as opposed to a model or key that is.
fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.status, Some(400 | 422))
}

//! What a target can do, found out by asking it before any load.
mod calibrate;
mod dialect;
mod vocabulary;
mod words;

pub use dialect::{Dialect, Lengths};
pub(super) use vocabulary::Prompt;
pub use vocabulary::Vocabulary;

use super::{
    client::{CHAT, Client, Failure},
    plan::{Load, Plan},
    random::Random,
};
use crate::record::Micros;
use hyper::{Method, body::Bytes};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// How long the target may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(120);
/// Prompts of each length that are made and counted before the load.
const CHECKS: u64 = 2;
/// The random stream of those prompts, apart from those of requests.
const CHECK_STREAM: u64 = u64::MAX - 1;

/// Why a target cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer a question as OpenAI's API does.
    #[error("{url}{path} did not answer: {message}; check the address, the model and the API key")]
    NoAnswer {
        /// The target.
        url: String,
        /// What was asked.
        path: &'static str,
        /// What happened.
        message: String,
    },
    /// It serves no model.
    #[error("{0} lists no model; name one with --model")]
    NoModel(String),
    /// A prompt cannot be so short.
    #[error(
        "a prompt of {asked} tokens is not possible: the chat template alone takes {template}; ask for {least} or more"
    )]
    PromptTooShort {
        /// What was asked for.
        asked: u32,
        /// Tokens of the template, and of the words that begin each prompt.
        template: u32,
        /// The shortest possible.
        least: u32,
    },
    /// It gives whole answers only.
    #[error(
        "{url} refuses to stream ({message}); ask for whole answers with --no-stream, or workload.stream: false, which have no time to first token"
    )]
    NoStreams {
        /// The target.
        url: String,
        /// What it says.
        message: String,
    },
}

/// What is known of the target when the load begins.
pub(super) struct Known {
    pub(super) model: Arc<str>,
    pub(super) dialect: Dialect,
    /// How long the first answer took.
    pub(super) first_answer: Micros,
    pub(super) vocabulary: Arc<Vocabulary>,
    /// How exact prompts are, in words.
    pub(super) prompt_lengths: String,
}

/// Asks the target all that has to be known.
pub(super) async fn explore(client: &Client, plan: &Plan) -> Result<Known, Error> {
    let model = match &plan.target.model {
        Some(model) => model.clone(),
        None => first_model(client).await?,
    };
    let questions = dialect::Questions {
        client,
        model: &model,
        patience: PATIENCE,
    };
    let no_answer = |failure: Failure| Error::NoAnswer {
        url: client.address(),
        path: CHAT,
        message: failure.message,
    };
    let (dialect, first_answer) = questions.dialect().await.map_err(no_answer)?;
    if plan.workload.stream
        && let Some(refusal) = questions
            .refuses_streams(dialect)
            .await
            .map_err(no_answer)?
    {
        return Err(Error::NoStreams {
            url: client.address(),
            message: refusal.message,
        });
    }
    let count = async |prompt: &str| questions.prompt_tokens(prompt, dialect).await;
    let Some(mut vocabulary) = calibrate::vocabulary(&count).await.map_err(no_answer)? else {
        return Ok(Known {
            model: model.into(),
            dialect,
            first_answer,
            vocabulary: Arc::new(Vocabulary::of_words(0)),
            prompt_lengths: "in words, because the target reports no usage.prompt_tokens"
                .to_owned(),
        });
    };
    let lengths = asked_lengths(plan);
    for &asked in &lengths {
        if asked < vocabulary.least() && !replays(plan) {
            return Err(Error::PromptTooShort {
                asked,
                template: vocabulary.overhead(),
                least: vocabulary.least(),
            });
        }
    }
    let errors = check(&count, &mut vocabulary, &lengths, plan.workload.seed);
    let errors = errors.await.map_err(no_answer)?;
    Ok(Known {
        model: model.into(),
        dialect,
        first_answer,
        prompt_lengths: exactness(&errors, &vocabulary),
        vocabulary: Arc::new(vocabulary),
    })
}

fn replays(plan: &Plan) -> bool {
    let replay = |load: &Load| matches!(load, Load::Replay(_));
    plan.scenarios.iter().any(|one| replay(&one.load))
}

/// The prompt lengths to check: those of the mix, or the ends of a trace's.
fn asked_lengths(plan: &Plan) -> Vec<u32> {
    let traced = plan.scenarios.iter().flat_map(|one| match &one.load {
        Load::Replay(trace) => {
            let lengths = || trace.iter().map(|one| one.prompt_tokens);
            lengths().min().into_iter().chain(lengths().max())
        }
        _ => None.into_iter().chain(None),
    });
    let mut lengths: Vec<u32> = traced.collect();
    if !replays(plan) {
        let mix = plan.workload.prompts.iter();
        lengths.extend(mix.filter_map(|one| u32::try_from(one.tokens).ok()));
    }
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Makes prompts of each length and compares their count with what was asked for. A difference from what they were made
/// to have that is the same for all is the template's, and taken into account.
async fn check<E>(
    count: &impl AsyncFn(&str) -> Result<Option<u32>, E>,
    vocabulary: &mut Vocabulary,
    lengths: &[u32],
    seed: i64,
) -> Result<Vec<i64>, E> {
    let (mut made, mut errors) = (Vec::new(), Vec::new());
    for attempt in 0..2 {
        made.clear();
        errors.clear();
        for &length in lengths {
            for place in 0..CHECKS {
                let mut random =
                    Random::new(seed.wrapping_add(i64::from(length)), CHECK_STREAM - place);
                let prompt = vocabulary.prompt(length, &mut random);
                if let Some(counted) = count(&prompt.text).await? {
                    made.push(i64::from(counted) - i64::from(prompt.tokens));
                    errors.push(i64::from(counted) - i64::from(length));
                }
            }
        }
        let first = made.first().copied().unwrap_or(0);
        if attempt > 0 || first == 0 || made.iter().any(|&error| error != first) {
            break;
        }
        vocabulary.shift(first);
    }
    Ok(errors)
}

fn exactness(errors: &[i64], vocabulary: &Vocabulary) -> String {
    let checks = errors.len();
    let template = vocabulary.overhead();
    let worst = errors.iter().map(|error| error.unsigned_abs()).max();
    let so = match worst {
        None | Some(0) => "exact".to_owned(),
        Some(worst) => format!("within {worst} tokens"),
    };
    format!(
        "{so} by the target's own usage.prompt_tokens in {checks} of {checks} checks, chat template included ({template} tokens with the words that begin each prompt)"
    )
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

async fn first_model(client: &Client) -> Result<String, Error> {
    const PATH: &str = "/v1/models";
    let no_answer = |message: String| Error::NoAnswer {
        url: client.address(),
        path: PATH,
        message,
    };
    let answer = client.ask(Method::GET, PATH, Bytes::new(), PATIENCE).await;
    let answer = answer.map_err(|failure| no_answer(failure.message))?;
    let models: Models =
        serde_json::from_slice(&answer).map_err(|error| no_answer(error.to_string()))?;
    let first = models.data.into_iter().next();
    first
        .map(|model| model.id)
        .ok_or_else(|| Error::NoModel(client.address()))
}

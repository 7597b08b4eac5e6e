//! Log probabilities in the form of chat completions.
use super::types::{ChatLogprobs, ChatTokenLogprob, ChatTopLogprob};
use crate::http::{
    error::ApiError,
    generation::{SpelledLogprob, TokenLogprob},
    parameters,
};

/// Most of the likeliest tokens, as in OpenAI's API.
const MAX_TOP: usize = 20;

/// What `logprobs` and `top_logprobs` ask for: nothing, or how many of the likeliest tokens.
pub(super) fn wanted(logprobs: bool, top: Option<usize>) -> Result<Option<usize>, ApiError> {
    let top = top
        .map(|count| parameters::likeliest("top_logprobs", count, MAX_TOP))
        .transpose()?
        .unwrap_or(0);
    if top > 0 && !logprobs {
        return Err(ApiError::invalid(
            "top_logprobs",
            "top_logprobs needs logprobs: true; add it or leave top_logprobs out",
        ));
    }
    Ok(logprobs.then_some(top))
}

/// Those of some tokens.
pub(super) fn of(tokens: Vec<TokenLogprob>) -> ChatLogprobs {
    ChatLogprobs {
        content: tokens.into_iter().map(token).collect(),
        refusal: None,
    }
}

fn token(token: TokenLogprob) -> ChatTokenLogprob {
    ChatTokenLogprob {
        token: token.picked.text(),
        logprob: token.picked.logprob,
        bytes: token.picked.bytes,
        top_logprobs: token.likeliest.into_iter().map(top).collect(),
    }
}

fn top(spelled: SpelledLogprob) -> ChatTopLogprob {
    ChatTopLogprob {
        token: spelled.text(),
        logprob: spelled.logprob,
        bytes: spelled.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_needs_the_switch_and_has_a_limit() {
        assert_eq!(wanted(false, None).unwrap(), None);
        assert_eq!(wanted(false, Some(0)).unwrap(), None);
        assert_eq!(wanted(true, None).unwrap(), Some(0));
        assert_eq!(wanted(true, Some(20)).unwrap(), Some(20));
        for (switch, count) in [(false, 1), (true, 21)] {
            let error = wanted(switch, Some(count)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("top_logprobs"));
        }
    }
}

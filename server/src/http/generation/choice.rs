//! One of the answers to a prompt: tokens to text, stop strings, log probabilities.
use crate::{
    engine::{FinishReason, Generation, GenerationEvent, Logprobs},
    http::parameters::Controls,
    text::{StopMatcher, TextError, TokenStream, Tokenizer, ToolCallReader},
};
use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Instant,
};

/// An answer that is being computed. Dropping it cancels the generation.
#[derive(Debug)]
pub(super) struct Choice {
    /// Until it has ended.
    running: Option<Running>,
    tokenizer: Tokenizer,
    /// Tokens picked, as far as the engine told.
    pub(super) tokens: usize,
    /// When its last token was picked.
    pub(super) last_token: Option<Instant>,
    /// Characters that its tokens spell so far.
    spelled: usize,
    /// Characters that were handed on.
    sent: usize,
    /// Tokens whose text is not handed on yet.
    waiting: VecDeque<TokenLogprob>,
}

#[derive(Debug)]
struct Running {
    generation: Generation,
    text: TokenStream,
    stop: StopMatcher,
    /// Where the answer is over with its first call: looks for it.
    first_call: Option<ToolCallReader>,
    /// Tokens that the answer has before a stop string or a call may end it.
    min_tokens: usize,
}

/// What an answer goes on with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Addition {
    /// The next text.
    pub text: String,
    /// Of the tokens that the text is made of, where they were asked for.
    pub logprobs: Vec<TokenLogprob>,
}

impl Addition {
    /// Whether it adds nothing.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty() && self.logprobs.is_empty()
    }
}

/// How likely the model held a token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token that was picked.
    pub picked: SpelledLogprob,
    /// The likeliest tokens, in falling order.
    pub likeliest: Vec<SpelledLogprob>,
    /// Characters of the answer before it.
    pub offset: usize,
}

/// A token as bytes, with its log probability.
#[derive(Clone, Debug, PartialEq)]
pub struct SpelledLogprob {
    /// What it spells; perhaps half a character.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

impl SpelledLogprob {
    /// What it spells, with � in place of half a character.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Choice {
    /// An answer whose tokens become text by `text`.
    pub(super) fn new(
        generation: Generation,
        tokenizer: &Tokenizer,
        text: TokenStream,
        controls: &Controls,
    ) -> Self {
        let only_call = controls.calls.filter(|calls| calls.only_one);
        Self {
            running: Some(Running {
                generation,
                text,
                stop: StopMatcher::new(controls.stop.clone()),
                first_call: only_call.map(ToolCallReader::new),
                min_tokens: controls.min_tokens,
            }),
            tokenizer: tokenizer.clone(),
            tokens: 0,
            last_token: None,
            spelled: 0,
            sent: 0,
            waiting: VecDeque::new(),
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The engine's next word about it; never ready once it has ended.
    pub(super) fn poll_event(&mut self, context: &mut Context) -> Poll<GenerationEvent> {
        self.running.as_mut().map_or(Poll::Pending, |running| {
            running.generation.poll_next(context)
        })
    }

    /// What a token makes ready to send, and whether a stop string or a call ends the answer here.
    pub(super) fn push(
        &mut self,
        id: u32,
        logprobs: Option<Logprobs>,
    ) -> Result<(Addition, bool), TextError> {
        let Some(running) = &mut self.running else {
            return Ok((Addition::default(), true));
        };
        let piece = running.text.push(id)?;
        let may_end = self.tokens >= running.min_tokens;
        let matched = running.stop.push(&piece, may_end);
        let called = running.first_call.as_mut().is_some_and(|reader| {
            reader.push(&matched.text);
            reader.is_done() && may_end
        });
        if let Some(logprobs) = logprobs {
            let entry = self.spell(id, &logprobs);
            self.waiting.push_back(entry);
        }
        self.spelled += piece.chars().count();
        let stopped = matched.stopped || called;
        if stopped {
            self.running = None;
        }
        Ok((self.add(matched.text), stopped))
    }

    /// What was held back until the answer's end, and why it ended.
    pub(super) fn finish(
        &mut self,
        reason: FinishReason,
    ) -> Result<(Addition, FinishReason), TextError> {
        let Some(Running {
            text,
            mut stop,
            min_tokens,
            ..
        }) = self.running.take()
        else {
            return Ok((Addition::default(), reason));
        };
        let matched = stop.push(&text.finish()?, self.tokens >= min_tokens);
        if matched.stopped {
            return Ok((self.add(matched.text), FinishReason::Stop));
        }
        let rest = matched.text + &stop.finish();
        let mut addition = self.add(rest);
        // Tokens without any text, too.
        addition.logprobs.extend(self.waiting.drain(..));
        Ok((addition, reason))
    }

    /// Hands on `text` with the tokens that begin in it or before.
    fn add(&mut self, text: String) -> Addition {
        self.sent += text.chars().count();
        let ready = self
            .waiting
            .iter()
            .take_while(|entry| entry.offset < self.sent)
            .count();
        Addition {
            text,
            logprobs: self.waiting.drain(..ready).collect(),
        }
    }

    fn spell(&self, id: u32, logprobs: &Logprobs) -> TokenLogprob {
        let spelled = |id, logprob| SpelledLogprob {
            bytes: self.tokenizer.token_bytes(id),
            logprob,
        };
        TokenLogprob {
            picked: spelled(id, logprobs.picked),
            likeliest: logprobs
                .likeliest
                .iter()
                .map(|&(id, logprob)| spelled(id, logprob))
                .collect(),
            offset: self.spelled,
        }
    }
}

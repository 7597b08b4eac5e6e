//! Prompts of exactly as many tokens as asked for, made of words whose costs are known.
use super::words::WORDS;
use crate::load::random::Random;

/// What every prompt begins with.
pub(super) const OPENING: &str = "Continue:";

/// Words and what each adds to a prompt's tokens.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// Tokens of the chat template and the opening.
    overhead: u32,
    words: Vec<(&'static str, u32)>,
    /// For small sums, whether words can add up to them; larger ones are like the last ones.
    reachable: Vec<bool>,
}

/// A prompt and its tokens.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::load) struct Prompt {
    pub(in crate::load) text: String,
    pub(in crate::load) tokens: u32,
}

impl Vocabulary {
    pub(super) fn new(overhead: u32, words: Vec<(&'static str, u32)>) -> Self {
        Self {
            overhead,
            reachable: reachable(&words),
            words,
        }
    }

    /// One in which each word is a token.
    pub(in crate::load) fn of_words(overhead: u32) -> Self {
        Self::new(overhead, WORDS.map(|word| (word, 1)).to_vec())
    }

    /// Tokens of the chat template and the opening.
    pub fn overhead(&self) -> u32 {
        self.overhead
    }

    /// The shortest prompt's tokens.
    pub fn least(&self) -> u32 {
        let cheapest = self.words.iter().map(|&(_, cost)| cost).min();
        self.overhead + cheapest.unwrap_or_default()
    }

    /// Corrects the overhead.
    pub(super) fn shift(&mut self, difference: i64) {
        let overhead = i64::from(self.overhead) + difference;
        self.overhead = u32::try_from(overhead).unwrap_or_default();
    }

    /// A random prompt of so many tokens, or of the nearest number that words allow.
    pub(in crate::load) fn prompt(&self, tokens: u32, random: &mut Random) -> Prompt {
        let mut left = tokens.max(self.least()) - self.overhead;
        while !self.can_reach(left) {
            left -= 1;
        }
        let made = self.overhead + left;
        let mut text = String::from(OPENING);
        while left > 0 {
            let Some((word, cost)) = self.pick(left, random) else {
                break;
            };
            text.push(' ');
            text.push_str(word);
            left -= cost;
        }
        Prompt {
            text,
            tokens: made - left,
        }
    }

    /// A word after which the rest can still be filled exactly.
    fn pick(&self, left: u32, random: &mut Random) -> Option<(&'static str, u32)> {
        let fits = |&(_, cost): &(&str, u32)| cost <= left && self.can_reach(left - cost);
        let any = *self.words.get(random.below(self.words.len()))?;
        if fits(&any) {
            return Some(any);
        }
        let fitting: Vec<_> = self.words.iter().copied().filter(fits).collect();
        fitting.get(random.below(fitting.len().max(1))).copied()
    }

    fn can_reach(&self, sum: u32) -> bool {
        let known = self.reachable.get(sum as usize);
        known.copied().unwrap_or(true)
    }
}

/// Which sums words can add up to, up to where every sum can be reached or nearly so.
fn reachable(words: &[(&'static str, u32)]) -> Vec<bool> {
    let most = words.iter().map(|&(_, cost)| cost).max().unwrap_or(1) as usize;
    let mut reachable = vec![false; (most * most).clamp(2, 1 << 16)];
    reachable[0] = true;
    for sum in 1..reachable.len() {
        reachable[sum] = words.iter().any(|&(_, cost)| {
            let cost = cost as usize;
            (1..=sum).contains(&cost) && reachable[sum - cost]
        });
    }
    reachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_have_exactly_the_tokens_that_were_asked_for() {
        // Costs as under a tokenizer of bytes: the word and the space before it.
        let words = WORDS[..24].iter();
        let costs = words.map(|&word| (word, u32::try_from(word.len() + 1).unwrap()));
        let vocabulary = Vocabulary::new(30, costs.collect());
        for tokens in [64, 65, 66, 128, 255, 1000] {
            let prompt = vocabulary.prompt(tokens, &mut Random::new(3, u64::from(tokens)));
            assert_eq!(prompt.tokens, tokens);
            let counted = 30 + prompt.text.len() - OPENING.len();
            assert_eq!(counted, tokens as usize, "{}", prompt.text);
        }
    }

    #[test]
    fn what_no_words_add_up_to_becomes_the_next_shorter_prompt() {
        let vocabulary = Vocabulary::new(10, vec![("aaa", 4), ("aaaaa", 6)]);
        let made = |tokens| vocabulary.prompt(tokens, &mut Random::new(1, 0)).tokens;
        assert_eq!((made(20), made(21)), (20, 20));
        assert_eq!(made(3), 14, "the shortest");
    }
}

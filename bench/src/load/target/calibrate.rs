//! What words cost under the target's tokenizer, found out by counting prompts.
//!
//! A server's `usage.prompt_tokens` is the only count that includes its chat template, and every
//! OpenAI-compatible server reports it. Groups of words that together cost one token each are
//! taken as they are; others are split until the words to leave out are found. A tokenizer that
//! holds no words (bytes, characters) has each word counted on its own.
use super::{
    vocabulary::{OPENING, Vocabulary},
    words::WORDS,
};

/// Words that are counted together.
const GROUP: usize = 48;
/// Enough words of one token each to make prompts that differ.
const ENOUGH: usize = 48;
/// Words to count one by one where there are not enough of those.
const SINGLES: usize = 24;

/// The vocabulary under a tokenizer of which `count` counts prompts; none where it counts nothing.
pub(super) async fn vocabulary<E>(
    count: &impl AsyncFn(&str) -> Result<Option<u32>, E>,
) -> Result<Option<Vocabulary>, E> {
    let Some(overhead) = count(OPENING).await? else {
        return Ok(None);
    };
    let mut good = Vec::new();
    let mut groups: Vec<&[&'static str]> = WORDS.chunks(GROUP).rev().collect();
    while let Some(group) = groups.pop() {
        let Some(cost) = cost(count, group, overhead).await? else {
            return Ok(None);
        };
        let words = u32::try_from(group.len()).unwrap_or(u32::MAX);
        if cost == words {
            good.extend(group.iter().map(|&word| (word, 1)));
        } else if cost >= 2 * words {
            // Hardly a word in it is one token: not worth searching.
        } else if group.len() > 1 {
            let (left, right) = group.split_at(group.len() / 2);
            groups.extend([right, left]);
        }
    }
    if good.len() < ENOUGH {
        good.clear();
        for word in &WORDS[..SINGLES] {
            let cost = cost(count, &[word], overhead).await?;
            good.extend(cost.filter(|&cost| cost > 0).map(|cost| (*word, cost)));
        }
    }
    Ok(Some(Vocabulary::new(overhead, good)))
}

/// What a group of words adds to the opening.
async fn cost<E>(
    count: &impl AsyncFn(&str) -> Result<Option<u32>, E>,
    words: &[&str],
    overhead: u32,
) -> Result<Option<u32>, E> {
    let prompt = format!("{OPENING} {}", words.join(" "));
    let counted = count(&prompt).await?;
    Ok(counted.map(|counted| counted.saturating_sub(overhead)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::random::Random;
    use std::{cell::Cell, convert::Infallible};

    const TEMPLATE: u32 = 17;

    /// A tokenizer in which `cost` says what a word of a prompt costs.
    async fn calibrated(cost: impl Fn(&str) -> u32) -> (Vocabulary, usize) {
        let asked = Cell::new(0);
        let count = async |prompt: &str| {
            asked.set(asked.get() + 1);
            Ok::<_, Infallible>(Some(TEMPLATE + prompt.split(' ').map(&cost).sum::<u32>()))
        };
        let found = vocabulary(&count).await.unwrap().unwrap();
        for tokens in [64, 128, 256] {
            let prompt = found.prompt(tokens, &mut Random::new(1, u64::from(tokens)));
            let counted = count(&prompt.text).await.unwrap();
            assert_eq!(counted, Some(tokens), "{}", prompt.text);
        }
        (found, asked.get())
    }

    #[tokio::test]
    async fn where_each_word_is_a_token_few_questions_are_enough() {
        let (_, asked) = calibrated(|_| 1).await;
        assert!(asked < 10, "{asked}");
    }

    #[tokio::test]
    async fn words_of_several_tokens_are_left_out() {
        let odd = ["government", "relationship", "movie"];
        let (found, asked) = calibrated(|word| if odd.contains(&word) { 2 } else { 1 }).await;
        let prompt = found.prompt(5000, &mut Random::new(1, 0)).text;
        assert!(!prompt.split(' ').any(|word| odd.contains(&word)));
        assert!(asked < 60, "{asked}");
    }

    #[tokio::test]
    async fn a_tokenizer_of_bytes_is_counted_word_by_word() {
        let bytes = |word: &str| u32::try_from(word.len() + 1).unwrap();
        let (_, asked) = calibrated(bytes).await;
        assert!(asked < 40, "{asked}");
    }

    #[tokio::test]
    async fn a_target_that_counts_nothing_has_no_vocabulary() {
        let count = async |_: &str| Ok::<_, Infallible>(None);
        assert!(vocabulary(&count).await.unwrap().is_none());
    }
}

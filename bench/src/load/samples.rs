//! Prompts that a run keeps, so that a report can show what was sent.
use super::{plan::Load, requests::Requests};
use crate::record::{RequestRecord, SamplePrompt};

/// Of a replay, whose requests may have a length of their own each, so many are enough.
const OF_REPLAY: usize = 3;

/// Adds the first prompt of each length that `samples` does not have yet. Prompts are made anew from the places of their
/// requests: nothing has to be kept while the load runs.
pub(super) fn keep(
    samples: &mut Vec<SamplePrompt>,
    load: &Load,
    sent: &[RequestRecord],
    requests: &Requests,
) {
    let most = match load {
        Load::Replay(_) => OF_REPLAY,
        _ => usize::MAX,
    };
    let mut sent: Vec<_> = sent
        .iter()
        .map(|one| (one.index, one.asked_prompt_tokens))
        .collect();
    sent.sort_unstable();
    for (index, tokens) in sent {
        let known = samples.iter().any(|one| one.tokens == tokens);
        if !known && samples.len() < most {
            let text = requests.prompt(index, tokens).text;
            samples.push(SamplePrompt { tokens, text });
        }
    }
    samples.sort_by_key(|one| one.tokens);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::requests::tests::requests;

    const USERS: Load = Load::Users {
        users: 1,
        spawn_rate: 1,
    };

    fn content(requests: &Requests, index: u64, lengths: Option<(u32, u32)>) -> String {
        let body = requests.at(index, lengths).0.body;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["messages"][0]["content"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_first_prompt_of_each_length_is_kept_as_it_was_sent() {
        let (first, second) = (requests(1, 1), requests(1, 2));
        let records = |of: &Requests| {
            (0..50)
                .rev()
                .map(|index| of.at(index, None).1)
                .collect::<Vec<_>>()
        };
        let mut samples = vec![];
        let sent = records(&first);
        keep(&mut samples, &USERS, &sent, &first);
        let lengths: Vec<_> = samples.iter().map(|one| one.tokens).collect();
        assert_eq!(lengths, [64, 128, 256]);
        for sample in &samples {
            let alike = sent
                .iter()
                .filter(|one| one.asked_prompt_tokens == sample.tokens);
            let index = alike.map(|one| one.index).min().unwrap();
            assert_eq!(sample.text, content(&first, index, None));
        }
        let before = samples.clone();
        keep(&mut samples, &USERS, &records(&second), &second);
        assert_eq!(samples, before, "lengths that are known already");
    }

    #[test]
    fn of_a_replay_three_are_enough() {
        let requests = requests(1, 1);
        let sent = (0..9).map(|index| (index, 90 - u32::try_from(index).unwrap()));
        let sent: Vec<_> = sent
            .map(|(index, tokens)| requests.at(index, Some((tokens, 5))).1)
            .collect();
        let mut samples = vec![];
        keep(&mut samples, &Load::Replay([].into()), &sent, &requests);
        let lengths: Vec<_> = samples.iter().map(|one| one.tokens).collect();
        assert_eq!(lengths, [88, 89, 90]);
        assert_eq!(samples[0].text, content(&requests, 2, Some((88, 5))));
    }
}

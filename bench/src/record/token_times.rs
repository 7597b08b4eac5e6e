//! When the pieces of an answer arrived, in few bytes: a run holds all of them until it ends.
use super::Micros;
use serde::{Deserialize, Serialize, Serializer};

/// Moments of which none is before the one before it: the first as it is, and the gaps between them as unsigned LEB128,
/// which takes three bytes for gaps from 17 ms to 2 s. Serialised, they are a list of moments.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(try_from = "Vec<Micros>")]
pub struct TokenTimes {
    first: Micros,
    last: Micros,
    count: usize,
    gaps: Vec<u8>,
}

/// A list of moments of which one is before the one before it.
#[derive(Debug, thiserror::Error)]
#[error("times of tokens run backwards: {later} is before {earlier} in the list")]
pub struct Backwards {
    earlier: Micros,
    later: Micros,
}

/// Bits of a number in each byte; the highest bit says that more follow.
const BITS: u32 = 7;
const MORE: u8 = 1 << BITS;

impl TokenTimes {
    /// Adds a moment. One before the last, which a monotonic clock does not give, counts as the last.
    pub fn push(&mut self, time: Micros) {
        if self.count == 0 {
            self.first = time;
        } else {
            let gap = time.saturating_sub(self.last);
            write(&mut self.gaps, gap);
        }
        self.last = self.last.max(time);
        self.count += 1;
    }

    /// Gives back what was allocated for moments that did not come.
    pub fn shrink_to_fit(&mut self) {
        self.gaps.shrink_to_fit();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first.
    pub fn first(&self) -> Option<Micros> {
        (self.count > 0).then_some(self.first)
    }

    /// The last.
    pub fn last(&self) -> Option<Micros> {
        (self.count > 0).then_some(self.last)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Micros> {
        let later = self.gaps().map(|(_, time)| time);
        self.first().into_iter().chain(later)
    }

    /// Each gap between two of them, and the moment at its end.
    pub fn gaps(&self) -> impl Iterator<Item = (Micros, Micros)> {
        let (mut left, mut time) = (self.gaps.as_slice(), self.first);
        std::iter::from_fn(move || {
            let gap = read(&mut left)?;
            time += gap;
            Some((gap, time))
        })
    }

    /// How many lie within a window, its end not included.
    pub fn count_within(&self, (from, to): (Micros, Micros)) -> usize {
        // Most answers lie wholly inside or outside.
        if self.last < from || to <= self.first {
            0
        } else if from <= self.first && self.last < to {
            self.count
        } else {
            self.iter()
                .filter(|&time| from <= time && time < to)
                .count()
        }
    }
}

/// Adds a number, its lowest bits first.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        // The seven lowest bits.
        #[allow(clippy::cast_possible_truncation)]
        let low = number as u8 & !MORE;
        number >>= BITS;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | MORE);
    }
}

/// Takes a number from the front.
fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 {
            return Some(number);
        }
        shift += BITS;
    }
}

impl FromIterator<Micros> for TokenTimes {
    fn from_iter<T: IntoIterator<Item = Micros>>(times: T) -> Self {
        let mut all = Self::default();
        for time in times {
            all.push(time);
        }
        all.shrink_to_fit();
        all
    }
}

impl TryFrom<Vec<Micros>> for TokenTimes {
    type Error = Backwards;

    fn try_from(times: Vec<Micros>) -> Result<Self, Backwards> {
        if let Some(pair) = times.windows(2).find(|pair| pair[1] < pair[0]) {
            let (earlier, later) = (pair[0], pair[1]);
            return Err(Backwards { earlier, later });
        }
        Ok(times.into_iter().collect())
    }
}

impl Serialize for TokenTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn times(list: &[Micros]) -> TokenTimes {
        list.iter().copied().collect()
    }

    /// Mostly small gaps, with some of each length that a number can have.
    fn gap() -> impl Strategy<Value = u64> {
        prop_oneof![0..100_000u64, (0..58u32).prop_map(|bits| 1 << bits)]
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(first in 0..u64::MAX / 2, gaps in vec(gap(), 0..40), any in any::<(u64, u64)>()) {
            let mut list = vec![first];
            for gap in &gaps {
                list.push(list[list.len() - 1] + gap);
            }
            let held = times(&list);
            prop_assert_eq!(held.iter().collect::<Vec<_>>(), list.clone());
            prop_assert_eq!(held.gaps().map(|(gap, _)| gap).collect::<Vec<_>>(), gaps);
            prop_assert_eq!((held.len(), held.first(), held.last()), (list.len(), list.first().copied(), list.last().copied()));
            let text = serde_json::to_string(&held).unwrap();
            prop_assert_eq!(&text, &serde_json::to_string(&list).unwrap());
            prop_assert_eq!(serde_json::from_str::<TokenTimes>(&text).unwrap(), held.clone());
            for window in [any, (list[0], list[list.len() - 1]), (list[list.len() / 2], u64::MAX)] {
                let inside = list.iter().filter(|&&time| window.0 <= time && time < window.1).count();
                prop_assert_eq!(held.count_within(window), inside);
            }
        }
    }

    #[test]
    fn none_is_an_empty_list() {
        let none = TokenTimes::default();
        assert!(none.is_empty() && none.iter().next().is_none());
        assert_eq!((none.first(), none.last()), (None, None));
        assert_eq!(none.count_within((0, u64::MAX)), 0);
        assert_eq!(serde_json::to_string(&none).unwrap(), "[]");
        assert_eq!(serde_json::from_str::<TokenTimes>("[]").unwrap(), none);
    }

    #[test]
    fn a_token_takes_three_bytes_at_fifty_a_second() {
        let answer: TokenTimes = (0..1_000).map(|token| 7_000_000 + token * 20_000).collect();
        assert_eq!(answer.gaps.capacity(), 3 * 999);
    }

    #[test]
    fn a_list_that_runs_backwards_is_no_record() {
        let error = serde_json::from_str::<TokenTimes>("[5,9,7]").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("7 is before 9"), "{error}");
    }

    #[test]
    fn a_moment_before_the_last_counts_as_the_last() {
        assert_eq!(times(&[5, 9, 7, 10]), times(&[5, 9, 9, 10]));
    }
}

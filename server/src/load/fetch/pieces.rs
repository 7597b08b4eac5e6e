//! A file in pieces that come at the same time: which there are, and how much of each has come.
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// More pieces of a file would only be more requests.
const MOST: u64 = 4096;

/// The pieces of one file, behind what came of it before it was taken apart.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Pieces {
    /// Bytes before the first piece, which are all there.
    from: u64,
    /// Bytes of the whole file.
    total: u64,
    /// Bytes of each piece; the last may have fewer.
    size: u64,
    /// Bytes that are there, of each piece.
    filled: Vec<u64>,
}

impl Pieces {
    /// Of a file of `total` bytes, of which the first `from` are there. Pieces have `size` bytes, or
    /// more where they would be too many.
    pub(super) fn new(from: u64, total: u64, size: u64) -> Self {
        let size = size.max(total.div_ceil(MOST)).max(1);
        let count = total.saturating_sub(from).div_ceil(size);
        Self {
            from,
            total,
            size,
            filled: vec![0; usize::try_from(count).unwrap_or_default()],
        }
    }

    /// Reads what an earlier process noted. Nothing where it makes no sense.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let pieces: Self = serde_json::from_slice(text).ok()?;
        if pieces.size == 0 || pieces.from > pieces.total {
            return None;
        }
        let count = (pieces.total - pieces.from).div_ceil(pieces.size);
        let mut filled = pieces.filled.iter().enumerate();
        let is_sane = pieces.filled.len() as u64 == count
            && filled.all(|(index, filled)| *filled <= pieces.length(index));
        is_sane.then_some(pieces)
    }

    /// Bytes of the whole file.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are there.
    pub(super) fn there(&self) -> u64 {
        self.from + self.filled.iter().sum::<u64>()
    }

    /// Bytes that are there from the beginning on, without a gap.
    pub(super) fn front(&self) -> u64 {
        let mut front = self.from;
        for (index, filled) in self.filled.iter().enumerate() {
            front += filled;
            if *filled < self.length(index) {
                break;
            }
        }
        front
    }

    /// The pieces of which something is missing, from the beginning on.
    pub(super) fn missing(&self) -> Vec<usize> {
        let missing = |index: &usize| !self.rest(*index).is_empty();
        (0..self.filled.len()).filter(missing).collect()
    }

    /// What is missing of a piece, as bytes of the file.
    pub(super) fn rest(&self, index: usize) -> Range<u64> {
        let start = self.start(index);
        let filled = self.filled.get(index).copied().unwrap_or_default();
        start + filled..start + self.length(index)
    }

    /// So many more bytes of a piece are there.
    pub(super) fn came(&mut self, index: usize, bytes: u64) {
        if let Some(filled) = self.filled.get_mut(index) {
            *filled += bytes;
        }
    }

    fn start(&self, index: usize) -> u64 {
        let before = self.size.saturating_mul(index as u64);
        self.total.min(self.from.saturating_add(before))
    }

    fn length(&self, index: usize) -> u64 {
        self.size.min(self.total - self.start(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(pieces: &Pieces) -> Option<Pieces> {
        Pieces::parse(&serde_json::to_vec(pieces).unwrap())
    }

    #[test]
    fn pieces_cover_what_is_missing_and_the_last_may_be_short() {
        let pieces = Pieces::new(5, 30, 10);
        assert_eq!(pieces.missing(), [0, 1, 2]);
        let rests: Vec<_> = (0..3).map(|index| pieces.rest(index)).collect();
        assert_eq!(rests, [5..15, 15..25, 25..30]);
        assert_eq!((pieces.there(), pieces.front()), (5, 5));
    }

    #[test]
    fn what_is_there_without_a_gap_ends_at_the_first_piece_that_is_not_whole() {
        let mut pieces = Pieces::new(0, 30, 10);
        pieces.came(0, 10);
        pieces.came(1, 4);
        pieces.came(2, 10);
        assert_eq!((pieces.there(), pieces.front()), (24, 14));
        assert_eq!(pieces.missing(), [1]);
        assert_eq!(pieces.rest(1), 14..20);
        pieces.came(1, 6);
        assert_eq!((pieces.front(), pieces.missing()), (30, vec![]));
    }

    #[test]
    fn even_the_longest_file_has_not_too_many_pieces() {
        assert_eq!(Pieces::new(0, u64::MAX, 1).filled.len(), 4096);
    }

    #[test]
    fn what_was_noted_is_read_again_unless_it_makes_no_sense() {
        let mut pieces = Pieces::new(3, 30, 10);
        pieces.came(1, 7);
        assert_eq!(noted(&pieces), Some(pieces.clone()));
        let changes: [fn(&mut Pieces); 4] = [
            |pieces| pieces.size = 0,
            |pieces| pieces.from = 31,
            |pieces| pieces.total = 60,
            |pieces| pieces.filled[2] = 11,
        ];
        for change in changes {
            let mut damaged = pieces.clone();
            change(&mut damaged);
            assert_eq!(noted(&damaged), None, "{damaged:?}");
        }
        assert_eq!(Pieces::parse(b"{"), None);
    }
}

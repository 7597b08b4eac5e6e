//! What was needed in the last minutes: the highest number for pods that may go, the lowest for pods
//! that are to come.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The numbers of pods that were needed lately.
#[derive(Debug)]
pub(super) struct Wishes {
    highest: Extreme,
    lowest: Extreme,
}

impl Wishes {
    /// Begins with the number of pods that is there, as if it had been needed until `now`.
    pub(super) fn starting(current: i32, now: Instant) -> Self {
        let first = VecDeque::from([(now, current)]);
        Self {
            highest: Extreme {
                entries: first.clone(),
                outdoes: |new, old| new >= old,
            },
            lowest: Extreme {
                entries: first,
                outdoes: |new, old| new <= old,
            },
        }
    }

    /// Takes in what is needed at `now`, and gives back the lowest and the highest number of the
    /// window of each.
    pub(super) fn push(
        &mut self,
        wish: i32,
        now: Instant,
        up: Duration,
        down: Duration,
    ) -> (i32, i32) {
        (
            self.lowest.push(wish, now, up),
            self.highest.push(wish, now, down),
        )
    }
}

/// The extreme of a window that moves on. What a later number outdoes is dropped, so that it holds
/// each number at most once, however long the window is.
#[derive(Debug)]
struct Extreme {
    entries: VecDeque<(Instant, i32)>,
    outdoes: fn(i32, i32) -> bool,
}

impl Extreme {
    fn push(&mut self, wish: i32, now: Instant, window: Duration) -> i32 {
        while self
            .entries
            .back()
            .is_some_and(|(_, old)| (self.outdoes)(wish, *old))
        {
            self.entries.pop_back();
        }
        self.entries.push_back((now, wish));
        let is_past = |(at, _): &(Instant, i32)| now.duration_since(*at) >= window;
        while self.entries.len() > 1 && self.entries.front().is_some_and(is_past) {
            self.entries.pop_front();
        }
        self.entries.front().map_or(wish, |(_, extreme)| *extreme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The lowest of 60 s and the highest of 60 s after each of these wishes, at these seconds.
    fn after(wishes: &[(u64, i32)]) -> Vec<(i32, i32)> {
        let start = Instant::now();
        let mut seen = Wishes::starting(3, start);
        wishes
            .iter()
            .map(|(second, wish)| {
                let now = start + Duration::from_secs(*second);
                seen.push(*wish, now, MINUTE, MINUTE)
            })
            .collect()
    }

    #[test]
    fn what_was_there_at_the_start_counts_for_one_window() {
        assert_eq!(after(&[(1, 1)]), [(1, 3)]);
        assert_eq!(after(&[(59, 1), (60, 1)]), [(1, 3), (1, 1)]);
        assert_eq!(after(&[(59, 9), (60, 9)]), [(3, 9), (9, 9)]);
    }

    #[test]
    fn a_peak_and_a_gap_count_until_the_window_has_passed_them() {
        let seen = after(&[
            (70, 2),
            (80, 5),
            (90, 1),
            (100, 2),
            (139, 2),
            (140, 2),
            (150, 2),
        ]);
        let highest: Vec<_> = seen.iter().map(|(_, highest)| *highest).collect();
        let lowest: Vec<_> = seen.iter().map(|(lowest, _)| *lowest).collect();
        assert_eq!(highest, [2, 5, 5, 5, 5, 2, 2]);
        assert_eq!(lowest, [2, 2, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn a_long_window_takes_no_more_memory_for_many_rounds() {
        let start = Instant::now();
        let mut wishes = Wishes::starting(0, start);
        let year = Duration::from_secs(365 * 24 * 3600);
        for second in 0..10_000 {
            let wish = i32::try_from(second % 7).unwrap();
            wishes.push(wish, start + Duration::from_secs(second), year, year);
        }
        assert!(wishes.highest.entries.len() <= 7);
        assert!(wishes.lowest.entries.len() <= 7);
    }
}

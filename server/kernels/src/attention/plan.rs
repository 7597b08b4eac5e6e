//! How a batch's attention is cut into units of about equal cost.
use super::{AttentionOptions, Batch, SEGMENT, scratch::TILE};
use std::{cmp::Reverse, ops::Range};

/// What a unit costs besides its queries' arithmetic: reading a position, told in queries.
const READING: usize = 4;

/// A single tile may be this part of a thread's share, or it is split.
const PARTS_OF_A_SHARE: usize = 4;

/// Rows of one sequence with query heads of one KV head or several. A query is one head of one row;
/// those of a KV head come together.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileRows {
    pub(super) sequence: usize,
    /// The first row, in the batch.
    pub(super) first_row: usize,
    pub(super) rows: usize,
    /// The position of the first row.
    pub(super) position: usize,
    pub(super) first_kv_head: usize,
    pub(super) kv_heads: usize,
    /// The first query head.
    pub(super) first_head: usize,
    /// Query heads of each KV head.
    pub(super) heads: usize,
}

impl TileRows {
    /// How many queries the tile has.
    pub(super) fn queries(&self) -> usize {
        self.kv_heads * self.queries_of_kv_head()
    }

    pub(super) fn queries_of_kv_head(&self) -> usize {
        self.rows * self.heads
    }

    /// A query's row and head, in the batch.
    pub(super) fn row_and_head(&self, query: usize) -> (usize, usize) {
        let kv_head = query / self.queries_of_kv_head();
        let query = query % self.queries_of_kv_head();
        (
            self.first_row + query / self.heads,
            self.first_head + kv_head * self.heads + query % self.heads,
        )
    }

    /// The positions that some of the tile's `rows` see.
    pub(super) fn visible(&self, rows: Range<usize>, window: Option<usize>) -> Range<usize> {
        let first = window.map_or(0, |window| {
            (self.position + rows.start + 1).saturating_sub(window)
        });
        first..self.position + rows.end
    }

    /// The segments the tile's rows see positions of.
    pub(super) fn segments(&self, window: Option<usize>) -> Range<usize> {
        let visible = self.visible(0..self.rows, window);
        visible.start / SEGMENT..visible.end.div_ceil(SEGMENT)
    }
}

/// What one thread does without pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) rows: TileRows,
    /// The one segment of a split tile and its number among the tile's.
    pub(super) segment: Option<usize>,
    cost: usize,
    /// The tile's place among split tiles, and the segment's place in the tile.
    split: (usize, usize),
}

/// A tile whose segments are computed apart and then added up.
#[derive(Clone, Debug)]
pub(super) struct SplitTile {
    pub(super) rows: TileRows,
    /// Where the results of each segment are, in order.
    pub(super) parts: Vec<usize>,
}

/// The units of a batch, and what has to be added up after them.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) units: Vec<Unit>,
    pub(super) split_tiles: Vec<SplitTile>,
    /// Values of all segments' results.
    pub(super) parts_len: usize,
}

impl Plan {
    /// Cuts `batch` for `threads`; a query's results take `part_len` values.
    pub(super) fn new(
        batch: &Batch<'_>,
        options: &AttentionOptions,
        threads: usize,
        part_len: usize,
    ) -> Self {
        // More than any machine has would only overflow sums.
        let threads = threads.clamp(1, 1024);
        let tiles = tiles(batch, options, threads);
        let cost_of = |rows: &TileRows| {
            let visible = rows.visible(0..rows.rows, options.window);
            visible.len() * (rows.queries() + READING)
        };
        let share = tiles.iter().map(cost_of).sum::<usize>() / threads;
        let mut plan = Self::default();
        for rows in tiles {
            let (cost, segments) = (cost_of(&rows), rows.segments(options.window));
            let is_large = threads > 1 && cost * PARTS_OF_A_SHARE >= share;
            if is_large && segments.len() > 1 {
                let tile = plan.split_tiles.len();
                let parts = segments.len();
                plan.units
                    .extend(segments.enumerate().map(|(part, segment)| Unit {
                        rows,
                        segment: Some(segment),
                        cost: cost / parts,
                        split: (tile, part),
                    }));
                plan.split_tiles.push(SplitTile {
                    rows,
                    parts: vec![0; parts],
                });
            } else {
                plan.units.push(Unit {
                    rows,
                    segment: None,
                    cost,
                    split: (0, 0),
                });
            }
        }
        plan.units = deal(plan.units, threads);
        plan.place_parts(part_len);
        plan
    }

    /// Gives each part its place, in the order of units.
    fn place_parts(&mut self, part_len: usize) {
        for unit in &self.units {
            if unit.segment.is_some() {
                let (tile, part) = unit.split;
                self.split_tiles[tile].parts[part] = self.parts_len;
                self.parts_len += unit.rows.queries() * part_len;
            }
        }
    }
}

/// The tiles of all sequences. One with few rows takes several KV heads, which lie together in
/// memory, unless that leaves too few units to share.
fn tiles(batch: &Batch<'_>, options: &AttentionOptions, threads: usize) -> Vec<TileRows> {
    let mut kv_heads = batch.shape().kv_heads;
    loop {
        let tiles = tiles_of(batch, options, kv_heads);
        let segments = tiles.iter().map(|tile| tile.segments(options.window).len());
        if kv_heads == 1 || segments.sum::<usize>() >= PARTS_OF_A_SHARE * threads {
            return tiles;
        }
        kv_heads = kv_heads.div_ceil(2);
    }
}

/// Tiles of at most `most_kv_heads` KV heads.
fn tiles_of(batch: &Batch<'_>, options: &AttentionOptions, most_kv_heads: usize) -> Vec<TileRows> {
    let all_kv_heads = batch.shape().kv_heads;
    let group = options.heads / all_kv_heads;
    let heads = group.min(TILE);
    let mut tiles = Vec::new();
    for (index, (first_row, sequence)) in batch.sequences().enumerate() {
        let rows = (TILE / heads).min(sequence.rows).max(1);
        let kv_heads = (TILE / (heads * rows)).clamp(1, most_kv_heads);
        for first_kv_head in (0..all_kv_heads).step_by(kv_heads) {
            for first_head in (0..group).step_by(heads) {
                for row in (0..sequence.rows).step_by(rows) {
                    tiles.push(TileRows {
                        sequence: index,
                        first_row: first_row + row,
                        rows: rows.min(sequence.rows - row),
                        position: sequence.position + row,
                        first_kv_head,
                        kv_heads: kv_heads.min(all_kv_heads - first_kv_head),
                        first_head: first_kv_head * group + first_head,
                        heads: heads.min(group - first_head),
                    });
                }
            }
        }
    }
    tiles
}

/// Orders units so that equal runs of them cost about the same, for pools that give each thread a
/// run, and so that each run ends with the cheap ones, for pools that give out units one by one.
fn deal(mut units: Vec<Unit>, threads: usize) -> Vec<Unit> {
    let threads = threads.clamp(1, units.len().max(1));
    units.sort_by_key(|unit| Reverse(unit.cost));
    let mut dealt = Vec::with_capacity(units.len());
    for thread in 0..threads {
        // There and back again, as captains pick teams.
        let taken = units.chunks(2 * threads).flat_map(|round| {
            let back = round.get(2 * threads - 1 - thread);
            round.get(thread).into_iter().chain(back)
        });
        dealt.extend(taken.copied());
    }
    dealt
}

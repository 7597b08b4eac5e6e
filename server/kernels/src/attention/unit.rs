//! What a thread does: a whole tile, one segment of a split tile, or the sum of a tile's segments.
use super::{
    cache::STRIP,
    plan::TileRows,
    scratch::{Aligned, ROW, Scratch, Sums},
    softmax::{finish, fold},
    tile::Tile,
};
use crate::vector::{Isa, Kernel, Level};
use std::{cell::RefCell, marker::PhantomData, ops::Range};

thread_local! {
    // A pool need not tell its threads apart, and a scratch is too large to clear for each unit.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Values that a query's result of one segment takes: weighted values, then its sums.
pub(super) fn part_len(padded_dim: usize) -> usize {
    padded_dim + STRIP
}

/// A tile and where its results go.
pub(super) struct Unit<'a> {
    pub(super) tile: Tile<'a>,
    pub(super) output: Output<'a>,
}

/// Where a unit's results go.
pub(super) enum Output<'a> {
    /// All segments, added up and divided, to the rows of the output.
    Rows(TileOut<'a>),
    /// One segment's results.
    Part { segment: usize, to: &'a mut [f32] },
}

impl Unit<'_> {
    pub(super) fn run(&mut self, level: Level) {
        SCRATCH.with_borrow_mut(|scratch| level.run(RunUnit(self, scratch)));
    }
}

struct RunUnit<'a, 'b>(&'a mut Unit<'b>, &'a mut Scratch);

impl Kernel for RunUnit<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self(Unit { tile, output }, scratch) = self;
        tile.load_queries(isa, scratch);
        let segments = match output {
            Output::Rows(_) => tile.rows.segments(tile.options.window),
            Output::Part { segment, .. } => *segment..*segment + 1,
        };
        let queries = tile.rows.queries();
        scratch.total_sums[..queries].fill(Sums::NOTHING);
        for segment in segments.clone() {
            let next = Some(segment + 1).filter(|next| *next < segments.end);
            tile.segment(isa, segment, next, scratch);
            if matches!(output, Output::Rows(_)) {
                tile.fold_part(isa, scratch);
            }
        }
        match output {
            Output::Rows(out) => {
                for query in 0..queries {
                    let total = &scratch.total[query * ROW..][..tile.padded_dim()];
                    finish(isa, total, scratch.total_sums[query], out.query(query));
                }
            }
            Output::Part { to, .. } => {
                let padded = tile.padded_dim();
                for (query, to) in to.chunks_exact_mut(part_len(padded)).enumerate() {
                    to[..padded].copy_from_slice(&scratch.part[query * ROW..][..padded]);
                    to[padded] = scratch.part_sums[query].largest;
                    to[padded + 1] = scratch.part_sums[query].sum;
                }
            }
        }
    }
}

/// Adds up one query's segments.
pub(super) struct Merge<'a> {
    pub(super) padded_dim: usize,
    pub(super) query: usize,
    /// Results of all segments of all split tiles.
    pub(super) results: &'a Aligned,
    /// Where those of this query's tile start, in the order of segments.
    pub(super) parts: &'a [usize],
    pub(super) out: &'a mut [f32],
}

impl Merge<'_> {
    pub(super) fn run(&mut self, level: Level) {
        SCRATCH.with_borrow_mut(|scratch| level.run(RunMerge(self, scratch)));
    }
}

struct RunMerge<'a, 'b>(&'a mut Merge<'b>, &'a mut Scratch);

impl Kernel for RunMerge<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self(merge, scratch) = self;
        let len = part_len(merge.padded_dim);
        let total = &mut scratch.total[..merge.padded_dim];
        let mut total_sums = Sums::NOTHING;
        for part in merge.parts {
            let part = &merge.results[part + merge.query * len..][..len];
            let (values, sums) = part.split_at(merge.padded_dim);
            let sums = Sums {
                largest: sums[0],
                sum: sums[1],
            };
            fold(isa, total, &mut total_sums, values, sums);
        }
        finish(isa, total, total_sums, merge.out);
    }
}

/// The output of attention, lent out by parts.
pub(super) struct Outputs<'a> {
    first: *mut f32,
    rows: usize,
    heads: usize,
    head_dim: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

impl<'a> Outputs<'a> {
    /// Rows of `heads` heads; `out` must be whole rows.
    pub(super) fn new(out: &'a mut [f32], heads: usize, head_dim: usize) -> Self {
        Self {
            first: out.as_mut_ptr(),
            rows: out.len() / (heads * head_dim),
            heads,
            head_dim,
            borrow: PhantomData,
        }
    }

    /// The part of a tile.
    /// # Safety
    /// No query of the tile may be lent twice.
    pub(super) unsafe fn tile(&self, rows: TileRows) -> TileOut<'a> {
        let Range { start, end } = rows.first_row..rows.first_row + rows.rows;
        debug_assert!(start < end && end <= self.rows);
        debug_assert!(rows.first_head + rows.heads <= self.heads);
        TileOut {
            first: self.first,
            heads: self.heads,
            head_dim: self.head_dim,
            rows,
            borrow: PhantomData,
        }
    }

    /// The part of one query.
    /// # Safety
    /// It may not be lent twice.
    pub(super) unsafe fn query(&self, rows: TileRows, query: usize) -> &'a mut [f32] {
        let (row, head) = rows.row_and_head(query);
        debug_assert!(row < self.rows && head < self.heads);
        let at = (row * self.heads + head) * self.head_dim;
        // SAFETY: within the output, and lent once.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(at), self.head_dim) }
    }
}

/// A tile's part of the output.
pub(super) struct TileOut<'a> {
    first: *mut f32,
    heads: usize,
    head_dim: usize,
    rows: TileRows,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is an exclusive borrow of its tile's part of the output.
unsafe impl Send for TileOut<'_> {}

impl TileOut<'_> {
    fn query(&mut self, query: usize) -> &mut [f32] {
        debug_assert!(query < self.rows.queries());
        let (row, head) = self.rows.row_and_head(query);
        let at = (row * self.heads + head) * self.head_dim;
        // SAFETY: the tile is within the output, and only this borrows it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(at), self.head_dim) }
    }
}

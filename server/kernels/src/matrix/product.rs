//! Who computes which part of a product, and in which order.
use super::{
    Activation, Matrix, Workspace,
    kernels::{PANEL_ROWS, Prompts, Table},
    layout::LANES,
    panels::{Input, Panels, heights},
};
use crate::pool::{Pool, Shards, Worker};
use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Rows of input that go through all tiles before the next ones: their panels should stay in a
/// core's second-level cache beside a tile or two.
const PANEL_BYTES: usize = 384 << 10;
/// The most of them, so that their sums stay there too.
const MOST_ROWS: usize = 256;
/// Tiles whose sums are written together, a row's beside each other: a row of output begins a page
/// or more behind the last one, and going to another page costs more than writing a line. Also the
/// most tiles that are read at once.
pub(super) const TOGETHER: usize = 4;

/// Up to so many rows, memory is the limit, and each worker reads one run of neighbouring tiles.
const FEW_ROWS: usize = 8;
/// Pieces per worker that the tiles of more rows are handed out in.
const PIECES: usize = 16;

/// What all workers know.
pub(super) struct Product<'a> {
    table: &'static Table,
    matrix: &'a Matrix,
    panels: Panels<'a>,
    /// Pieces that have been handed out: of rows one by one, and of rows of prompts.
    claimed: [AtomicUsize; 2],
}

impl<'a> Product<'a> {
    /// Prepares the input, and has room for the sums of each worker.
    pub(super) fn new(
        pool: &Pool,
        matrix: &'a Matrix,
        input: Input<'_>,
        workspace: &'a mut Workspace,
    ) -> (Self, Room) {
        let table = Table::of(workspace.level());
        let (panels, sums) = workspace.prepare(pool, table, matrix, input);
        let rows = panels.rows.max(panels.prompt_rows);
        let most = TOGETHER * rows.min(MOST_ROWS).next_multiple_of(PANEL_ROWS);
        sums.resize((2 * pool.threads() * most).max(sums.len()), [0.0; LANES]);
        let room = Room {
            most,
            sums: Shards::new(sums),
        };
        let product = Self {
            table,
            matrix,
            panels,
            claimed: Default::default(),
        };
        (product, room)
    }

    /// Calls `work` with some of the tiles (or pairs) and rows; all workers together do so once for
    /// each tile and row.
    pub(super) fn for_each(
        &self,
        worker: &Worker<'_>,
        tiles: usize,
        mut work: impl FnMut(&[usize], Range<usize>),
    ) {
        let (rows, tallest) = (self.panels.rows, self.table.tallest);
        if rows <= FEW_ROWS {
            let streams = (self.table.streams)(self.matrix.format, rows);
            in_streams(&worker.share(tiles), streams, |tiles| {
                for (row, height) in heights(0..rows, tallest) {
                    work(tiles, row..row + height);
                }
            });
        } else {
            let step = (PANEL_BYTES / self.panels.bytes_of_row()).clamp(1, MOST_ROWS);
            let step = step.next_multiple_of(tallest);
            for_each_piece(worker, &self.claimed[0], tiles, (0..rows, step), &mut work);
        }
        if let Some(prompts) = self.panels.prompts {
            let _ready = Ready::new(prompts);
            let rows = rows..rows + self.panels.prompt_rows;
            for_each_piece(
                worker,
                &self.claimed[1],
                tiles,
                (rows, MOST_ROWS),
                &mut work,
            );
        }
    }

    /// The products of some tiles with some rows.
    pub(super) fn sums<'s>(
        &self,
        tiles: &[usize],
        rows: Range<usize>,
        sums: &'s mut [[f32; LANES]],
    ) -> Sums<'s> {
        let mut starts = [std::ptr::null(); TOGETHER];
        for (start, tile) in starts.iter_mut().zip(tiles) {
            *start = self.matrix.tile(*tile).as_ptr();
        }
        let starts = &starts[..tiles.len()];
        let prompts = self
            .panels
            .prompts
            .filter(|_| rows.start >= self.panels.rows);
        let of_tile = match prompts {
            Some(_) => rows.len().next_multiple_of(PANEL_ROWS),
            None => rows.len(),
        };
        let sums = &mut sums[..tiles.len() * of_tile];
        if let Some(prompts) = prompts {
            self.multiply_prompts(prompts, starts, rows, sums);
        } else if self.panels.rows <= FEW_ROWS {
            // The rows of one panel.
            self.multiply(starts, rows.start, rows.len(), sums);
        } else {
            for (start, sums) in starts.chunks(1).zip(sums.chunks_exact_mut(of_tile)) {
                for (row, height) in heights(rows.clone(), self.table.tallest) {
                    let sums = &mut sums[row - rows.start..][..height];
                    self.multiply(start, row, height, sums);
                }
            }
        }
        Sums { sums, of_tile }
    }

    /// The products of some tiles with a panel: for each tile, those of each row.
    fn multiply(&self, tiles: &[*const u8], row: usize, height: usize, sums: &mut [[f32; LANES]]) {
        let product = (self.table.product)(self.matrix.format, tiles.len(), height);
        let panel = self.panels.starting_at(row).as_ptr();
        // SAFETY: whoever has the table's `Level` may run them; tiles and panel have as many
        // groups as the matrix; there is a sum for each tile and row.
        unsafe { product(tiles, self.matrix.groups, panel, sums) };
    }

    /// The products of tiles with rows of prompts, two tiles at a time.
    fn multiply_prompts(
        &self,
        prompts: Prompts,
        tiles: &[*const u8],
        rows: Range<usize>,
        sums: &mut [[f32; LANES]],
    ) {
        sums.fill([0.0; LANES]);
        let panels = self.panels.of_prompts(rows.start - self.panels.rows);
        let of_pair = 2 * rows.len().next_multiple_of(PANEL_ROWS);
        for (tiles, sums) in tiles.chunks(2).zip(sums.chunks_mut(of_pair)) {
            // SAFETY: whoever has the table's `Level` may run them, and `for_each` has made the
            // thread ready; tiles and panels have as many groups as the matrix, and there are sums
            // for all rows of each tile.
            unsafe { (prompts.multiply)(tiles, self.matrix.groups, panels, sums) };
        }
    }

    /// Replaces gates by what they let through of values.
    pub(super) fn gate(&self, activation: Activation, gates: &mut Sums<'_>, values: &Sums<'_>) {
        // SAFETY: whoever has the table's `Level` may run it.
        unsafe { (self.table.gate)(activation, gates.sums, values.sums) };
    }
}

/// Where workers have their sums.
pub(super) struct Room {
    /// Sums that a worker needs at most.
    most: usize,
    sums: Shards<[f32; LANES]>,
}

impl Room {
    /// Two places for the most sums that a call needs.
    ///
    /// # Safety
    /// The workspace must still be borrowed, and no worker may ask twice.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn of(&self, worker: &Worker<'_>) -> [&mut [[f32; LANES]]; 2] {
        [0, 1].map(|place| {
            let start = (2 * worker.index() + place) * self.most;
            // SAFETY: no two workers have the same index; the rest is this function's own contract.
            unsafe { self.sums.range(start..start + self.most) }
        })
    }
}

/// The sums of rows with one tile after the other.
pub(super) struct Sums<'a> {
    sums: &'a mut [[f32; LANES]],
    /// Rows of a tile, perhaps more than were asked for.
    of_tile: usize,
}

impl Sums<'_> {
    /// Each row with each tile.
    pub(super) fn by_rows(
        &self,
        tiles: &[usize],
        rows: Range<usize>,
    ) -> impl Iterator<Item = (usize, usize, &[f32; LANES])> {
        rows.enumerate().flat_map(move |(index, row)| {
            tiles
                .iter()
                .enumerate()
                .map(move |(place, tile)| (row, *tile, &self.sums[place * self.of_tile + index]))
        })
    }
}

/// A thread that is ready to multiply rows of prompts.
struct Ready(Prompts);

impl Ready {
    fn new(prompts: Prompts) -> Self {
        // SAFETY: whoever has the table's `Level` may run them.
        unsafe { (prompts.begin)() };
        Self(prompts)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { (self.0.end)() };
    }
}

/// Hands out pieces as they are asked for. Long products meet busy neighbours: who is held up
/// takes less of the work.
fn for_each_piece(
    worker: &Worker<'_>,
    claimed: &AtomicUsize,
    tiles: usize,
    (rows, step): (Range<usize>, usize),
    work: &mut impl FnMut(&[usize], Range<usize>),
) {
    let piece = tiles
        .div_ceil(PIECES * worker.count())
        .next_multiple_of(TOGETHER);
    let pieces = tiles.div_ceil(piece);
    loop {
        let claim = claimed.fetch_add(1, Relaxed);
        let row = rows.start + claim / pieces * step;
        if row >= rows.end {
            return;
        }
        let first = claim % pieces * piece;
        let piece = first..tiles.min(first + piece);
        for tile in piece.clone().step_by(TOGETHER) {
            let together = [0, 1, 2, 3].map(|next| tile + next);
            work(
                &together[..TOGETHER.min(piece.end - tile)],
                row..rows.end.min(row + step),
            );
        }
    }
}

/// Calls `work` with several tiles at a time that lie far apart, so that the memory serves several
/// streams at once; those that are left over come one by one.
fn in_streams(tiles: &Range<usize>, streams: usize, mut work: impl FnMut(&[usize])) {
    let length = tiles.len() / streams;
    let mut together = [0; TOGETHER];
    let together = &mut together[..streams];
    for index in 0..length {
        for (stream, tile) in together.iter_mut().enumerate() {
            *tile = tiles.start + stream * length + index;
        }
        work(together);
    }
    for tile in tiles.start + streams * length..tiles.end {
        work(&[tile]);
    }
}

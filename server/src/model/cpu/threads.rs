//! The threads of a step, and the instructions that they use.
use super::CpuError;
use candlepower_kernels::{
    Level, Pool,
    matrix::{Input, Workspace},
};
use std::sync::OnceLock;

/// Fewer rows than this are not worth handing out where a row is little work.
const FEW_ROWS: usize = 4;

/// What all parts of a step work with.
pub(super) struct Threads {
    pub(super) pool: Pool,
    pub(super) level: Level,
    pub(super) workspace: Workspace,
    /// How many rows of the step go on with answers; the others, behind them, are of prompts.
    pub(super) answer_rows: usize,
}

impl Threads {
    pub(super) fn new(count: usize) -> std::io::Result<Self> {
        let level = Level::detect();
        Ok(Self {
            pool: Pool::new(count)?,
            level,
            workspace: Workspace::new(level),
            answer_rows: 0,
        })
    }

    /// Rows of the step, as a product takes them.
    pub(super) fn input<'a>(&self, rows: &'a [f32]) -> Input<'a> {
        Input::new(rows).with_prompts_from(self.answer_rows)
    }

    /// Calls `work` with each row of `rows` and its number, on all threads where there are many.
    pub(super) fn for_rows(
        &self,
        rows: &mut [f32],
        width: usize,
        work: impl Fn(usize, &mut [f32]) -> Result<(), CpuError> + Sync,
    ) -> Result<(), CpuError> {
        let width = width.max(1);
        if rows.len() < FEW_ROWS * width {
            return rows
                .chunks_mut(width)
                .enumerate()
                .try_for_each(|(index, row)| work(index, row));
        }
        let failed = OnceLock::new();
        self.pool.for_chunks(rows, width, |index, row| {
            if let Err(error) = work(index, row) {
                // The first one is told.
                let _ = failed.set(error);
            }
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Root-mean-square norms of rows as wide as `weight`.
    pub(super) fn norm(
        &self,
        rows: &[f32],
        weight: &[f32],
        epsilon: f32,
        out: &mut Vec<f32>,
    ) -> Result<(), CpuError> {
        let width = weight.len();
        out.resize(rows.len(), 0.0);
        self.for_rows(out, width, |index, out| {
            let row = rows.get(index * width..(index + 1) * width);
            let row = row.unwrap_or_default();
            Ok(candlepower_kernels::rms_norm(
                self.level, row, weight, epsilon, out,
            )?)
        })
    }
}

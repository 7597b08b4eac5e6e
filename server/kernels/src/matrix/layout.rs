//! Where the packed weights lie.
//!
//! Rows are packed in tiles of sixteen, one per lane of a 512-bit register. A tile is a run of
//! groups, and all its kernels read it from front to back, once. A quantised group holds some
//! blocks of 32 columns:
//!
//! | scales of all blocks | minima, if any | block 0 | block 1 | … |
//!
//! A block's quants are lines of 64 bytes: four columns of each of the sixteen rows, which is what
//! one integer multiply-add takes. Formats of less than eight bits put two such lines in one: the
//! first whole, and above it as many bits of the second as there is room for. Of five and six bits,
//! the second's other bits fill lines that follow, so that one half of the weights needs no more
//! than a mask.
//!
//! A float group is one column: sixteen values.
use crate::format::Format;

/// Rows in a tile.
pub(crate) const LANES: usize = 16;
/// Columns in a block, the unit in which the input is quantised.
pub(crate) const BLOCK: usize = 32;

/// How many bits a quantised weight has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bits {
    Four,
    Five,
    Six,
    Eight,
}

impl Bits {
    /// As a number.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

/// How a group keeps its scales.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// An f16 per block.
    Block,
    /// An f16 per group, times a byte per block.
    Group,
    /// An f16 per group, times a signed byte per half block.
    Halves,
}

/// What brings the non-negative quants back to the weights' values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offset {
    /// This is subtracted from each quant.
    Constant(i32),
    /// The block's minimum is added to each weight.
    Added,
    /// The block's minimum is subtracted from each weight.
    Subtracted,
}

/// The layout of a quantised format.
pub(crate) trait Layout {
    /// Blocks in a group.
    const BLOCKS: usize;
    const BITS: Bits;
    const SCALES: Scales;
    const OFFSET: Offset;

    /// Where the scales of a block or half block begin (with [`Scales::Block`]: f16, else bytes).
    const SCALES_AT: usize = match Self::SCALES {
        Scales::Block => 0,
        Scales::Group | Scales::Halves => 2 * LINE,
    };
    /// Where the minima begin, in the same form as the scales.
    const MINIMA_AT: usize = match Self::SCALES {
        Scales::Block => 2 * LANES * Self::BLOCKS,
        Scales::Group | Scales::Halves => Self::SCALES_AT + LANES * Self::BLOCKS,
    };
    /// Where an f16 per group that the minima are multiplied by is.
    const MINIMUM_AT: usize = LINE;
    /// Where the first block's quants are.
    const QUANTS_AT: usize = match (Self::SCALES, Self::OFFSET) {
        (Scales::Block, Offset::Constant(_)) => Self::MINIMA_AT,
        (Scales::Block, _) => 2 * Self::MINIMA_AT,
        (Scales::Group | Scales::Halves, _) => Self::MINIMA_AT + LANES * Self::BLOCKS,
    };
    /// The bytes of a block's quants.
    const BLOCK_BYTES: usize = match Self::BITS {
        Bits::Four => 256,
        Bits::Five => 320,
        Bits::Six => 384,
        Bits::Eight => 512,
    };
    const GROUP_BYTES: usize = Self::QUANTS_AT + Self::BLOCKS * Self::BLOCK_BYTES;
    /// Words that a row of the input has per block beside its quants and their scale.
    const WORDS: usize = match Self::SCALES {
        Scales::Block | Scales::Group => 1,
        Scales::Halves => 2,
    };
}

/// Half a cache line: an f16 for each lane.
const LINE: usize = 2 * LANES;

/// Defines the layouts by what tells them apart.
macro_rules! layouts {
    ($($name:ident: $blocks:literal, $bits:ident, $scales:ident, $offset:expr;)*) => { $(
        /// The layout of the format of this name.
        #[allow(non_camel_case_types)]
        pub(crate) struct $name;
        impl Layout for $name {
            const BLOCKS: usize = $blocks;
            const BITS: Bits = Bits::$bits;
            const SCALES: Scales = Scales::$scales;
            const OFFSET: Offset = $offset;
        }
    )* };
}

layouts! {
    Q8_0: 2, Eight, Block, Offset::Constant(128);
    Q4_0: 2, Four, Block, Offset::Constant(8);
    Q4_1: 2, Four, Block, Offset::Added;
    Q5_0: 2, Five, Block, Offset::Constant(16);
    Q5_1: 2, Five, Block, Offset::Added;
    Q4_K: 8, Four, Group, Offset::Subtracted;
    Q5_K: 8, Five, Group, Offset::Subtracted;
    Q6_K: 8, Six, Halves, Offset::Constant(32);
}

/// Runs `$quantised` with the type `$layout` set to the format's layout, or `$float`.
macro_rules! with_layout {
    ($format:expr, $layout:ident => $quantised:expr, $float:expr) => {{
        use $crate::matrix::layout;
        macro_rules! with {
            ($name:ident) => {{
                type $layout = layout::$name;
                $quantised
            }};
        }
        match $format {
            Format::F32 | Format::F16 | Format::BF16 => $float,
            Format::Q8_0 => with!(Q8_0),
            Format::Q4_0 => with!(Q4_0),
            Format::Q4_1 => with!(Q4_1),
            Format::Q5_0 => with!(Q5_0),
            Format::Q5_1 => with!(Q5_1),
            Format::Q4_K => with!(Q4_K),
            Format::Q5_K => with!(Q5_K),
            Format::Q6_K => with!(Q6_K),
        }
    }};
}
pub(crate) use with_layout;

/// The sizes that follow from a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Columns of a group.
    pub(crate) group_columns: usize,
    /// Bytes of a group.
    pub(crate) group_bytes: usize,
    /// 32-bit words that a row of the input takes per group.
    pub(crate) input_words: usize,
}

impl Geometry {
    pub(crate) fn of(format: Format) -> Self {
        with_layout!(
            format,
            L => Self {
                group_columns: L::BLOCKS * BLOCK,
                group_bytes: L::GROUP_BYTES,
                input_words: L::BLOCKS * (BLOCK / 4 + 1 + L::WORDS),
            },
            Self {
                group_columns: 1,
                group_bytes: LANES * format.block_bytes(),
                input_words: 1,
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_weights_take_hardly_more_than_stored_ones() {
        for format in Format::ALL {
            let geometry = Geometry::of(format);
            let stored = LANES * format.row_bytes(geometry.group_columns).unwrap();
            assert!(geometry.group_bytes >= stored, "{format}");
            assert!(geometry.group_bytes * 100 <= stored * 103, "{format}");
        }
    }

    #[test]
    fn groups_begin_on_cache_lines() {
        for format in Format::ALL
            .into_iter()
            .filter(|format| format.is_quantised())
        {
            assert_eq!(Geometry::of(format).group_bytes % 64, 0, "{format}");
        }
    }
}

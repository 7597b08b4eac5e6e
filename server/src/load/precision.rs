//! Which formats the weights are held in: as asked for, or what fits the memory.
use super::{
    error::LoadError,
    formats::{format_name, is_float},
};
use crate::model::{Backend, DecoderWeights, Role};
use candle_core::quantized::GgmlDType;
use candlepower_api::{Precision, value::ByteSize};

/// How the formats of weights follow from their stored ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FormatPlan {
    /// Nothing is converted.
    AsStored,
    /// Matrices are converted into this format, or the next better one that fits them.
    Into(GgmlDType),
}

/// What was decided about a model's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What to do with each weight.
    pub plan: FormatPlan,
    /// The precision of most weights.
    pub precision: String,
    /// Bytes of all weights in memory.
    pub weights: u64,
    /// Why this one, for the log.
    pub reason: &'static str,
}

impl FormatPlan {
    /// The format of a weight that is stored as `stored`, in rows of `columns` numbers.
    pub fn format(self, role: Role, stored: GgmlDType, columns: usize) -> GgmlDType {
        let Self::Into(target) = self else {
            return stored;
        };
        let wanted = match role {
            Role::Vector => return GgmlDType::F32,
            // Blocks stay what they are: converting them again loses too much.
            _ if !is_float(stored) => return stored,
            // As llama.cpp: the logits suffer most from few bits.
            Role::Output if !is_float(target) && target != GgmlDType::Q8_0 => GgmlDType::Q6K,
            _ => target,
        };
        [wanted, GgmlDType::Q8_0]
            .into_iter()
            .find(|format| columns.is_multiple_of(format.block_size()))
            .unwrap_or(GgmlDType::F16)
    }
}

/// Decides about `weights`, which `backend` will hold. `fits` says whether so many bytes of
/// weights leave enough memory to serve well.
pub fn choose(
    weights: &DecoderWeights,
    wanted: Precision,
    backend: Backend,
    fits: &dyn Fn(u64) -> bool,
) -> Result<Choice, LoadError> {
    let stored = measure(weights, FormatPlan::AsStored, backend)?;
    let stored_floats = is_float(stored.format);
    if wanted == Precision::Auto {
        if !stored_floats {
            return Ok(stored.chosen("the weights are stored so"));
        }
        let best = backend.better_float(stored.format);
        for plan in [
            best.map_or(FormatPlan::AsStored, FormatPlan::Into),
            FormatPlan::Into(GgmlDType::Q8_0),
            FormatPlan::Into(GgmlDType::Q4K),
        ] {
            let measured = measure(weights, plan, backend)?;
            if fits(measured.bytes) {
                return Ok(measured.chosen(match plan {
                    FormatPlan::AsStored => "the weights are stored so and fit the memory",
                    FormatPlan::Into(format) if is_float(format) => {
                        "the GPU computes with it, and it fits the memory"
                    }
                    FormatPlan::Into(_) => "it is the most that fits the memory",
                }));
            }
        }
        let smallest = measure(weights, FormatPlan::Into(GgmlDType::Q4K), backend)?;
        return Ok(smallest.chosen("it is the smallest, and the memory is short"));
    }
    let target = format_of(wanted);
    if target == Some(stored.format) {
        return Ok(stored.chosen("it was asked for, and the weights are stored so"));
    }
    match target {
        Some(target) if stored_floats => {
            let measured = measure(weights, FormatPlan::Into(target), backend)?;
            Ok(measured.chosen("it was asked for"))
        }
        _ => Err(LoadError::UnsupportedPrecision {
            found: format_name(stored.format),
            wanted: wanted.to_string(),
        }),
    }
}

struct Measured {
    plan: FormatPlan,
    format: GgmlDType,
    bytes: u64,
}

impl Measured {
    fn chosen(self, reason: &'static str) -> Choice {
        Choice {
            plan: self.plan,
            precision: format_name(self.format),
            weights: self.bytes,
            reason,
        }
    }
}

/// Bytes in memory under `plan`, and the format of most of them, without reading any.
fn measure(
    weights: &DecoderWeights,
    plan: FormatPlan,
    backend: Backend,
) -> Result<Measured, LoadError> {
    let mut bytes = 0;
    let mut formats: Vec<(GgmlDType, usize)> = Vec::new();
    for weight in weights.list() {
        let (rows, columns) = weights.shape(weight);
        let elements = rows * columns;
        let role = weights.role(weight);
        if role == Role::Vector {
            bytes += (elements * size_of::<f32>()) as u64;
            continue;
        }
        let format = weights.format(weight, plan)?;
        bytes += backend.matrix_bytes(format, rows, columns);
        match formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, sum)) => *sum += elements,
            None => formats.push((format, elements)),
        }
    }
    let most = formats.into_iter().max_by_key(|(_, elements)| *elements);
    Ok(Measured {
        plan,
        format: most.map_or(GgmlDType::F32, |(format, _)| format),
        bytes,
    })
}

/// Logs what was decided.
pub fn report(choice: &Choice) {
    tracing::info!(
        precision = choice.precision,
        weights = ByteSize::new(choice.weights).human(),
        reason = choice.reason,
        "precision"
    );
}

const fn format_of(precision: Precision) -> Option<GgmlDType> {
    Some(match precision {
        Precision::Auto => return None,
        Precision::F32 => GgmlDType::F32,
        Precision::F16 => GgmlDType::F16,
        Precision::Bf16 => GgmlDType::BF16,
        Precision::Q8_0 => GgmlDType::Q8_0,
        Precision::Q4_0 => GgmlDType::Q4_0,
        Precision::Q4_1 => GgmlDType::Q4_1,
        Precision::Q4K => GgmlDType::Q4K,
        Precision::Q5K => GgmlDType::Q5K,
        Precision::Q6K => GgmlDType::Q6K,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::ModelFiles,
        model::{Target, testing::random},
    };

    #[test]
    fn the_sizes_that_the_operator_computes_with_are_those_of_the_formats() {
        for precision in Precision::ALL.into_iter().skip(1) {
            let format = format_of(precision).unwrap();
            let block = (format.block_size() as u64, format.type_size() as u64);
            assert_eq!(precision.block(), Some(block), "{precision}");
        }
    }

    #[test]
    fn a_format_whose_blocks_do_not_divide_the_rows_gives_way_to_a_better_one() {
        let plan = FormatPlan::Into(GgmlDType::Q4K);
        let format = |role, columns| plan.format(role, GgmlDType::F16, columns);
        assert_eq!(format(Role::Matrix, 512), GgmlDType::Q4K);
        assert_eq!(format(Role::Matrix, 576), GgmlDType::Q8_0);
        assert_eq!(format(Role::Matrix, 100), GgmlDType::F16);
        assert_eq!(format(Role::Embeddings, 512), GgmlDType::Q4K);
        assert_eq!(format(Role::Output, 512), GgmlDType::Q6K);
        assert_eq!(format(Role::Output, 576), GgmlDType::Q8_0);
    }

    fn choice_on(
        backend: Backend,
        stored: GgmlDType,
        wanted: Precision,
        room: u64,
    ) -> Result<Choice, LoadError> {
        let file = random::llama(stored, None);
        let files = ModelFiles::open(file.path()).unwrap();
        let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
        choose(&weights, wanted, backend, &|bytes| bytes <= room)
    }

    fn choice(stored: GgmlDType, wanted: Precision, room: u64) -> Result<Choice, LoadError> {
        choice_on(Backend::Candle(Target::Cpu), stored, wanted, room)
    }

    fn precision(stored: GgmlDType, wanted: Precision, room: u64) -> String {
        choice(stored, wanted, room).unwrap().precision
    }

    const PLENTY: u64 = 1 << 30;

    #[test]
    fn automatic_keeps_what_fits_and_otherwise_takes_the_most_that_does() {
        let full = choice(GgmlDType::F16, Precision::Auto, PLENTY).unwrap();
        assert_eq!(
            (full.precision.as_str(), full.plan),
            ("f16", FormatPlan::AsStored)
        );
        let matrices = 4 * (2 * 64 * 256 + 2 * (5 * 256 * 256 + 2 * 128 * 256));
        assert!(
            full.weights > matrices && full.weights < matrices + (1 << 14),
            "held in 32 bits"
        );
        let room = full.weights - 1;
        assert_eq!(precision(GgmlDType::F16, Precision::Auto, room), "q8_0");
        assert_eq!(precision(GgmlDType::F16, Precision::Auto, room / 5), "q4_k");
        // Where nothing fits, the smallest is what the refusal is about.
        assert_eq!(precision(GgmlDType::F16, Precision::Auto, 0), "q4_k");
        assert_eq!(precision(GgmlDType::Q8_0, Precision::Auto, 0), "q8_0");
    }

    #[test]
    fn automatic_takes_sixteen_bits_on_a_gpu() {
        let on_gpu = |stored, room| {
            let gpu = Backend::Candle(Target::Cuda);
            choice_on(gpu, stored, Precision::Auto, room).unwrap()
        };
        let full = on_gpu(GgmlDType::F32, PLENTY);
        assert_eq!(
            (full.precision.as_str(), full.plan),
            ("bf16", FormatPlan::Into(GgmlDType::BF16))
        );
        assert_eq!(on_gpu(GgmlDType::F16, PLENTY).plan, FormatPlan::AsStored);
        assert_eq!(on_gpu(GgmlDType::Q4_1, 0).plan, FormatPlan::AsStored);
        assert_eq!(on_gpu(GgmlDType::F32, full.weights - 1).precision, "q8_0");
    }

    #[test]
    fn what_is_asked_for_is_done_or_refused() {
        for precision in Precision::ALL.into_iter().skip(1) {
            let done = choice(GgmlDType::F32, precision, 0).unwrap();
            assert_eq!(done.precision, precision.as_str());
        }
        assert_eq!(precision(GgmlDType::Q4_1, Precision::Q4_1, 0), "q4_1");
        let refused = choice(GgmlDType::Q4_1, Precision::Q8_0, PLENTY).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("set precision to auto or q4_1"),
            "{refused}"
        );
    }

    #[test]
    fn norms_stay_floats_and_blocks_stay_what_they_are() {
        let plan = FormatPlan::Into(GgmlDType::Q4_0);
        assert_eq!(
            plan.format(Role::Vector, GgmlDType::BF16, 512),
            GgmlDType::F32
        );
        assert_eq!(
            plan.format(Role::Matrix, GgmlDType::Q8_0, 512),
            GgmlDType::Q8_0
        );
        let stored = FormatPlan::AsStored;
        assert_eq!(
            stored.format(Role::Matrix, GgmlDType::BF16, 512),
            GgmlDType::BF16
        );
    }
}

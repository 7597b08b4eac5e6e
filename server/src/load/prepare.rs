//! Decides how the model of some files is served, and how its engine is built then.
use super::{
    error::LoadError,
    fetch::Kept,
    files::ModelFiles,
    memory::Room,
    model::Progress,
    plan::{self, Plan},
    precision::FormatPlan,
    quantised::{self, QuantisedCopy},
};
use crate::{
    engine::Engine,
    model::{self, Backend, DecoderWeights, SequentialModel},
};
use candle_core::Device;
use candlepower_api::server_config::{LoadReport, LoadStage, ServerConfig};
use std::ops::Range;

/// How much of reading the weights is done, in percent, once they are quantised in a file.
const QUANTISED: u8 = 90;

/// Reads the weights into an engine, and tells how far it is.
pub(super) type Build<'a> =
    Box<dyn FnOnce(&Progress<'_>) -> Result<Box<dyn Engine>, LoadError> + 'a>;

/// Finds the model in `files`, decides how to serve it on `device`, and says how to build it. What is
/// made of its weights is put where it is `kept`.
pub(super) fn prepare<'a>(
    files: &'a ModelFiles,
    kept: Option<&'a Kept>,
    config: &ServerConfig,
    device: &'a Device,
    room: Room,
) -> Result<(Plan, Build<'a>), LoadError> {
    let (description, source) = (files.description(), files.weights());
    if let Some(model) = SequentialModel::find(description, source)? {
        let plan = plan::of_sequential(&model, config, room)?;
        let context_length = plan.context_length;
        let build = move |progress: &Progress<'_>| {
            model.load(context_length, device, &|percent| {
                progress(part_of_reading(&(0..100), percent));
            })
        };
        return Ok((plan, Box::new(build)));
    }
    let weights = DecoderWeights::find(description, source)?;
    let backend = Backend::choose(weights.spec(), device);
    let plan = plan::of_decoder(&weights, config, backend, room)?;
    let (formats, context_length, kv_blocks) =
        (plan.precision.plan, plan.context_length, plan.kv_blocks);
    let build = move |progress: &Progress<'_>| {
        let copy = quantised_copy(kept, &weights, formats, progress);
        let (weights, left) = match &copy {
            Some(copy) => (weights.stored_in(copy.weights())?, QUANTISED..100),
            None => (weights, 0..100),
        };
        let report = |percent| progress(part_of_reading(&left, percent));
        let weights = weights.reading(formats, &report);
        model::build(backend, &weights, context_length, kv_blocks, device)
    };
    Ok((plan, Box::new(build)))
}

/// The weights as a file of the cache, where they are quantised and were fetched.
fn quantised_copy(
    kept: Option<&Kept>,
    weights: &DecoderWeights<'_>,
    plan: FormatPlan,
    progress: &Progress<'_>,
) -> Option<QuantisedCopy> {
    quantised::copy_of(weights, plan, kept?, &|percent| {
        progress(part_of_reading(&(0..QUANTISED), percent));
    })
}

/// So many percent of a part of reading the weights.
fn part_of_reading(part: &Range<u8>, percent: u8) -> LoadReport {
    let length = u16::from(part.end.saturating_sub(part.start));
    let done = u8::try_from(length * u16::from(percent.min(100)) / 100).unwrap_or(u8::MAX);
    LoadReport::at(LoadStage::ReadingWeights, part.start.saturating_add(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_quantising_ended() {
        let percent = |part, done| part_of_reading(&part, done).percent;
        assert_eq!(percent(0..100, 37), 37);
        assert_eq!(
            (percent(0..QUANTISED, 0), percent(0..QUANTISED, 100)),
            (0, 90)
        );
        assert_eq!(
            (percent(QUANTISED..100, 0), percent(QUANTISED..100, 100)),
            (90, 100)
        );
    }
}

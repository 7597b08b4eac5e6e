//! Whether a model of which this is known fits what the resource asks for, with the sum, and with what would fit.
use super::{
    Fit,
    facts::{Facts, Stored},
    room::Room,
};
use candlepower_api::{
    Precision,
    deployment::LLMDeploymentSpec,
    memory::{COMFORTABLE_TOKENS, Needs, Shortage},
    value::ByteSize,
};

/// What the server tries in turn after the stored floats where nobody asked for a precision.
const AUTOMATIC: [Precision; 2] = [Precision::Q8_0, Precision::Q4K];
/// What is proposed, the most precise first.
const PROPOSED: [Precision; 5] = [
    Precision::Bf16,
    Precision::Q8_0,
    Precision::Q6K,
    Precision::Q5K,
    Precision::Q4K,
];
/// Contexts are proposed in multiples of this.
const CONTEXT_STEP: usize = 64;

/// Judges whether there is `room` for the model of these `facts`. The weights are counted as the least that they can be,
/// so that nothing is refused that the server could serve.
pub(super) fn judge(facts: &Facts, spec: &LLMDeploymentSpec, room: Room<'_>) -> Fit {
    let plan = Plan::new(facts, spec, room);
    let configured = spec.engine.kv_cache_memory;
    let context = plan.needs.context_length;
    let is_asked_for = spec.engine.max_context_length.is_some() && configured.is_none();
    match plan.needs.kv_cache_tokens(configured, room.size()) {
        Err(Shortage::Limit { tokens, kv_cache }) => Fit::TooLarge(plan.refusal(tokens, kv_cache)),
        // The server says what is wrong with it.
        Err(Shortage::KvCache { size, tokens, .. }) => Fit::Unknown(format!(
            "engine.kvCacheMemory of {size} holds only {tokens} tokens; the server decides about it"
        )),
        // Nobody is given a shorter context than the one that was asked for.
        Ok(tokens) if is_asked_for && tokens < context => {
            Fit::TooLarge(plan.refusal(context, plan.needs.kv_cache(context)))
        }
        Ok(tokens) => Fit::Fits(plan.sum(tokens)),
    }
}

/// What the resource makes of the model.
struct Plan<'a> {
    facts: &'a Facts,
    needs: Needs,
    room: Room<'a>,
    /// How the weights are held.
    held: String,
    configured: Option<ByteSize>,
}

impl<'a> Plan<'a> {
    fn new(facts: &'a Facts, spec: &LLMDeploymentSpec, room: Room<'a>) -> Self {
        let engine = &spec.engine;
        let own = usize::try_from(facts.shape.context_length).unwrap_or(usize::MAX);
        let context_length = engine.max_context_length.map_or(own, count).min(own);
        let needs = |weights| Needs {
            weights,
            kv_bytes_per_token: facts.shape.kv_bytes_per_token(),
            context_length,
            max_batch_size: count(engine.max_batch_size),
            overhead: room.overhead(),
        };
        let is_comfortable = |weights| {
            let tokens = needs(weights).kv_cache_tokens(engine.kv_cache_memory, room.size());
            tokens.is_ok_and(|tokens| tokens >= context_length.min(COMFORTABLE_TOKENS))
        };
        let (weights, held) = held(facts, spec.precision, room, is_comfortable);
        Self {
            facts,
            needs: needs(weights),
            room,
            held,
            configured: engine.kv_cache_memory,
        }
    }

    /// What is needed with a KV cache of so many tokens.
    fn sum(&self, tokens: usize) -> String {
        let kv_cache = self.needs.kv_cache(tokens);
        let fits = format!("{} of {}", self.terms(tokens, kv_cache), self.room.name());
        let whole = self.needs.whole_batch();
        if tokens >= whole {
            return fits;
        }
        format!(
            "{fits}; {} sequences of {} tokens at once would need {}",
            self.needs.max_batch_size,
            self.needs.context_length,
            ByteSize::new(self.needs.sum(self.needs.kv_cache(whole))).human()
        )
    }

    fn terms(&self, tokens: usize, kv_cache: u64) -> String {
        format!(
            "weights of at least {} ({}) + KV cache of {tokens} tokens {} + overhead {} = {}",
            ByteSize::new(self.needs.weights).human(),
            self.held,
            ByteSize::new(kv_cache).human(),
            self.needs.overhead.human(),
            ByteSize::new(self.needs.sum(kv_cache)).human()
        )
    }

    /// Why this KV cache has no room, and what would have.
    fn refusal(&self, tokens: usize, kv_cache: u64) -> String {
        let mut cures = Vec::new();
        if self.configured.is_some() {
            let left = ByteSize::new(self.needs.left(self.room.size())).human();
            cures.push(format!("lower engine.kvCacheMemory to at most {left}"));
        } else if let Some(context) = self.largest_context() {
            cures.push(format!("lower engine.maxContextLength to {context}"));
        }
        if let Some(precision) = self.largest_precision(kv_cache) {
            cures.push(format!("set precision to {precision}"));
        }
        cures.push(self.room.cure(self.needs.sum(kv_cache)));
        format!(
            "the model does not fit: {} exceed {}: {}",
            self.terms(tokens, kv_cache),
            self.room.name(),
            cures.join(", or ")
        )
    }

    /// The longest context that has room, where that is of any use.
    fn largest_context(&self) -> Option<usize> {
        let tokens = self.needs.kv_cache_tokens(None, self.room.size());
        let tokens = tokens.ok()?;
        let context = tokens.min(self.needs.context_length) / CONTEXT_STEP * CONTEXT_STEP;
        (context > 0).then_some(context)
    }

    /// The most precise format in which everything else has room.
    fn largest_precision(&self, kv_cache: u64) -> Option<Precision> {
        let Stored::Floats(stored) = self.facts.stored else {
            return None;
        };
        PROPOSED.into_iter().find(|precision| {
            let weights = converted(self.facts.bytes, stored, *precision);
            let needs = Needs {
                weights,
                ..self.needs
            };
            weights < self.needs.weights && needs.sum(kv_cache) <= self.room.size().bytes()
        })
    }
}

/// Bytes of the weights, at least, and how they are held: as the server chooses.
fn held(
    facts: &Facts,
    wanted: Precision,
    room: Room<'_>,
    is_comfortable: impl Fn(u64) -> bool,
) -> (u64, String) {
    let Stored::Floats(stored) = facts.stored else {
        return (facts.bytes, "as stored".to_owned());
    };
    let as_precision = |precision: Precision| {
        let weights = converted(facts.bytes, stored, precision);
        (weights, precision.to_string())
    };
    if wanted != Precision::Auto {
        return as_precision(wanted);
    }
    let mut all = [room.floats(stored)].into_iter().chain(AUTOMATIC);
    let chosen = all.find(|precision| is_comfortable(as_precision(*precision).0));
    as_precision(chosen.unwrap_or(Precision::Q4K))
}

/// Bytes of weights that are stored as floats, at least, once they are converted.
fn converted(bytes: u64, stored: Precision, into: Precision) -> u64 {
    let (Some((_, float)), Some((numbers, block))) = (stored.block(), into.block()) else {
        return bytes;
    };
    (bytes / float / numbers).saturating_mul(block)
}

/// The schema allows no negative numbers.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{fits::facts::Shape, testing};
    use serde_json::{Value, json};

    const MIB: u64 = 1 << 20;

    /// 64 KiB of KV cache a token.
    const SHAPE: Shape = Shape {
        layers: 16,
        kv_heads: 8,
        head_dim: 128,
        context_length: 8192,
    };

    fn of(stored: Stored, mebibytes: u64, spec: Value) -> Fit {
        let facts = Facts {
            shape: SHAPE,
            stored,
            bytes: mebibytes * MIB,
        };
        let spec = testing::resource(spec).spec;
        judge(&facts, &spec, Room::Container(spec.resources.memory))
    }

    fn refused(stored: Stored, mebibytes: u64, spec: Value) -> String {
        match of(stored, mebibytes, spec) {
            Fit::TooLarge(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn fits(stored: Stored, mebibytes: u64, spec: Value) -> String {
        match of(stored, mebibytes, spec) {
            Fit::Fits(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn memory(memory: &str) -> Value {
        json!({"resources": {"memory": memory}})
    }

    #[test]
    fn a_context_that_has_no_room_is_refused_with_the_sum_and_the_longest_that_has() {
        let spec = |context: i32| json!({"resources": {"memory": "512Mi"}, "engine": {"maxContextLength": context}});
        let message = refused(Stored::Blocks, 200, spec(8192));
        assert_eq!(
            message,
            "the model does not fit: weights of at least 200.0 MiB (as stored) + KV cache of 8192 tokens 512.0 MiB \
             + overhead 100.0 MiB = 812.0 MiB exceed the memory limit of 512.0 MiB: lower engine.maxContextLength to \
             3392, or raise resources.memory to 832Mi"
        );
        let message = fits(Stored::Blocks, 200, spec(3392));
        assert!(
            message.contains("= 512.0 MiB of the memory limit"),
            "{message}"
        );
        fits(Stored::Blocks, 200, memory("512Mi"));
    }

    #[test]
    fn what_fits_says_what_a_whole_batch_would_need() {
        let spec = json!({
            "resources": {"memory": "1Gi"}, "engine": {"maxContextLength": 2048, "maxBatchSize": 4},
        });
        let message = fits(Stored::Blocks, 200, spec.clone());
        assert!(
            message.ends_with("= 812.0 MiB of the memory limit of 1.0 GiB"),
            "{message}"
        );
        let message = fits(Stored::Blocks, 600, spec);
        assert!(
            message.ends_with("; 4 sequences of 2048 tokens at once would need 1.2 GiB"),
            "{message}"
        );
    }

    #[test]
    fn weights_that_leave_no_room_are_refused_with_the_precision_that_would() {
        let bf16 = Stored::Floats(Precision::Bf16);
        let mut spec = memory("2Gi");
        spec["precision"] = json!("bf16");
        let message = refused(bf16, 3000, spec);
        for part in [
            "2.9 GiB (bf16)",
            "256 tokens",
            "set precision to q8_0",
            "3136Mi",
        ] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        assert!(!message.contains("maxContextLength"), "no context has room");
        let quantised = refused(Stored::Blocks, 3000, memory("2Gi"));
        assert!(!quantised.contains("precision"), "{quantised}");
    }

    #[test]
    fn automatic_precision_is_the_most_that_leaves_a_comfortable_cache() {
        let bf16 = Stored::Floats(Precision::Bf16);
        for (memory_limit, precision) in
            [("4Gi", "(bf16)"), ("2Gi", "(q8_0)"), ("1200Mi", "(q4_k)")]
        {
            let message = fits(bf16, 3000, memory(memory_limit));
            assert!(message.contains(precision), "{memory_limit}: {message}");
        }
        let message = refused(bf16, 3000, memory("900Mi"));
        assert!(message.contains("(q4_k)"), "{message}");
        assert!(
            !message.contains("set precision"),
            "it is the smallest already"
        );
    }

    #[test]
    fn a_configured_cache_that_has_no_room_is_refused_with_the_largest_that_has() {
        let spec =
            |size: &str| json!({"resources": {"memory": "1Gi"}, "engine": {"kvCacheMemory": size}});
        let message = refused(Stored::Blocks, 500, spec("500Mi"));
        assert!(
            message.contains("lower engine.kvCacheMemory to at most 424.0 MiB"),
            "{message}"
        );
        fits(Stored::Blocks, 500, spec("400Mi"));
        assert!(matches!(
            of(Stored::Blocks, 500, spec("1Mi")),
            Fit::Unknown(_)
        ));
    }
}

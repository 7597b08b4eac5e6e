//! What a decoder-only transformer is, as data: every backend computes what the specification
//! says, and none knows an architecture by name.

/// A decoder, fully described. Weights are found through [`super::weights`].
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSpec {
    /// The architecture's name, as its files declare it.
    pub architecture: String,
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width between the feed-forward network's two products.
    pub feed_forward: usize,
    /// Tokens that can be embedded and scored.
    pub vocabulary: usize,
    /// Longest sequence that the model was made for, in tokens.
    pub context_length: usize,
    /// The embeddings are multiplied by this.
    pub embedding_scale: f64,
    /// Where root-mean-square norms are.
    pub norms: NormSpec,
    /// How rows attend to each other.
    pub attention: AttentionSpec,
    /// Rotary embedding of the layers that see the whole sequence, and of all others too unless
    /// `local_rope` is there.
    pub rope: RopeSpec,
    /// Rotary embedding of the layers with a sliding window, where it differs.
    pub local_rope: Option<RopeSpec>,
    /// Between the gate's product and its use.
    pub activation: Activation,
    /// Whether the embeddings score the tokens as well.
    pub tied_output: bool,
    /// Logits are `cap × tanh(logit / cap)`.
    pub output_soft_cap: Option<f64>,
}

/// The norms of a decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSpec {
    /// Added to the mean square before its root is taken.
    pub epsilon: f64,
    /// The files store `w` where `1 + w` is meant. Who reads norms through
    /// [`super::weights::DecoderWeights`] gets `1 + w`.
    pub stored_less_one: bool,
    /// Attention's and the feed-forward network's results are normed before they are added.
    pub after: bool,
    /// Every head of queries and keys is normed before it is rotated.
    pub per_head: bool,
}

/// Attention, apart from its dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Products of queries and keys are multiplied by this.
    pub scale: f64,
    /// Scores are `cap × tanh(score / cap)`.
    pub soft_cap: Option<f64>,
    /// Queries, keys and values have biases.
    pub biases: bool,
    /// For each layer, how many positions a row sees, itself included; everything where `None`.
    pub windows: Vec<Option<usize>>,
}

/// Which numbers of a head are rotated together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RopePairs {
    /// `2i` and `2i + 1`: how GGUF stores Llama.
    Adjacent,
    /// `i` and `i + n/2` of `n`.
    Halves,
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeSpec {
    /// Which numbers are rotated together.
    pub pairs: RopePairs,
    /// The angle of a pair at position 1, one a pair. Twice as many numbers of each head are
    /// rotated, from its beginning; the rest is left alone.
    pub frequencies: Vec<f32>,
    /// Other frequencies for long contexts.
    pub long: Option<LongRope>,
    /// Cosines and sines are multiplied by this.
    pub magnitude: f64,
}

/// Frequencies that take over where the context is long ("LongRoPE").
#[derive(Clone, Debug, PartialEq)]
pub struct LongRope {
    /// For contexts of more tokens than this.
    pub above: usize,
    /// As [`RopeSpec::frequencies`].
    pub frequencies: Vec<f32>,
}

impl RopeSpec {
    /// The frequencies of an engine that serves up to `context_length` tokens. All its sequences
    /// share them: keys in the cache cannot be rotated anew when a sequence becomes long.
    pub fn frequencies(&self, context_length: usize) -> &[f32] {
        match &self.long {
            Some(long) if context_length > long.above => &long.frequencies,
            _ => &self.frequencies,
        }
    }
}

/// The feed-forward network's activation function.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activation {
    /// `x × sigmoid(x)`.
    Silu,
    /// The Gaussian error linear unit, by its tanh approximation.
    GeluTanh,
}

/// No published model comes near; larger numbers are damage.
const MOST: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 12;
const WIDEST_HEAD: usize = 1 << 14;

/// `head_dim`, where a list of so many numbers can be made.
pub(super) fn check_head(head_dim: usize) -> Result<usize, String> {
    if head_dim > WIDEST_HEAD {
        return Err(format!("the head width cannot be {head_dim}"));
    }
    Ok(head_dim)
}

impl DecoderSpec {
    /// Numbers of the KV cache, keys and values together, for one token in all layers.
    pub const fn kv_elements_per_token(&self) -> usize {
        2 * self.layers * self.kv_heads * self.head_dim
    }

    /// How many positions a row of `layer` sees; everything where `None`.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.attention.windows.get(layer).copied().flatten()
    }

    /// The rotary embedding of `layer`.
    pub fn rope_of(&self, layer: usize) -> &RopeSpec {
        match &self.local_rope {
            Some(local) if self.window(layer).is_some() => local,
            _ => &self.rope,
        }
    }

    /// Says what is impossible about the numbers, so that whoever computes with them need not
    /// look again.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, number, most) in [
            ("layers", self.layers, MOST_LAYERS),
            ("hidden width", self.hidden, MOST),
            ("heads", self.heads, MOST),
            ("KV heads", self.kv_heads, MOST),
            ("head width", self.head_dim, WIDEST_HEAD),
            ("feed-forward width", self.feed_forward, MOST),
            ("vocabulary", self.vocabulary, MOST),
            ("context length", self.context_length, MOST),
        ] {
            if number == 0 || number > most {
                return Err(format!("the {name} cannot be {number}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let (heads, kv_heads) = (self.heads, self.kv_heads);
            return Err(format!(
                "{heads} heads are not a multiple of {kv_heads} KV heads"
            ));
        }
        if self.attention.windows.len() != self.layers {
            return Err("not every layer says how far it sees".to_owned());
        }
        if self.attention.windows.contains(&Some(0)) {
            return Err("a sliding window cannot be 0".to_owned());
        }
        for rope in [Some(&self.rope), self.local_rope.as_ref()]
            .into_iter()
            .flatten()
        {
            self.check_rope(rope)?;
        }
        Ok(())
    }

    fn check_rope(&self, rope: &RopeSpec) -> Result<(), String> {
        let pairs = rope.frequencies.len();
        if pairs == 0 || 2 * pairs > self.head_dim {
            let head_dim = self.head_dim;
            return Err(format!(
                "{pairs} pairs of {head_dim} dimensions of a head cannot be rotated"
            ));
        }
        let long = rope.long.as_ref().map_or(&[][..], |long| &long.frequencies);
        if !long.is_empty() && long.len() != pairs {
            return Err("the frequencies for long contexts are of another number".to_owned());
        }
        let finite = |frequencies: &[f32]| frequencies.iter().all(|angle| angle.is_finite());
        if finite(&rope.frequencies) && finite(long) && rope.magnitude.is_finite() {
            Ok(())
        } else {
            Err("the rotary embedding's frequencies are not numbers".to_owned())
        }
    }
}

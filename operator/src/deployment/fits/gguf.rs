//! The beginning of a GGUF file: the dimensions of its model, out of as many bytes as were read. They come from anywhere,
//! so nothing that they say is believed without a look.
use super::facts::{Shape, Stored};
use candlepower_api::Precision;

/// What every GGUF file begins with.
const MAGIC: &[u8] = b"GGUF";
/// Longer names and texts than these are not looked at.
const LONGEST_TEXT: usize = 256;
/// Bytes at most for one tensor's name, dimensions and place.
const TENSOR: u64 = 128;
/// Bytes at most for one word of the vocabulary, with its score and its merge.
const WORD: u64 = 96;
/// Most entries that are kept: a file has some dozens.
const MOST_KEPT: usize = 512;

/// What the beginning of a file says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) shape: Shape,
    pub(super) stored: Stored,
    /// Bytes at most that are no weights.
    pub(super) overhead: u64,
}

/// Reads the beginning of a file, which may break off anywhere after what is needed.
pub(super) fn read(bytes: &[u8]) -> Result<Header, String> {
    let mut reader = Reader { bytes, position: 0 };
    let entries = reader
        .entries()
        .ok_or("it does not begin as a GGUF file does")?;
    let architecture = entries
        .architecture
        .as_deref()
        .ok_or("it does not say its architecture")?;
    // Vocabularies follow what is needed here.
    if entries.end.is_none() && entries.longest_list == 0 {
        return Err("it breaks off in the midst of its header".to_owned());
    }
    let number = |name: &str| entries.number(&format!("{architecture}.{name}"));
    let needed = |name: &str| {
        number(name).ok_or_else(|| format!("it does not say {architecture}.{name} as one number"))
    };
    if entries.number("split.count").is_some_and(|count| count > 1) {
        return Err("it is one of several parts".to_owned());
    }
    let heads = needed("attention.head_count")?;
    let shape = Shape {
        layers: needed("block_count")?,
        kv_heads: number("attention.head_count_kv").unwrap_or(heads),
        head_dim: match number("attention.key_length") {
            Some(width) => width,
            None => needed("embedding_length")? / heads.max(1),
        },
        context_length: needed("context_length")?,
    };
    Ok(Header {
        shape: shape.checked()?,
        stored: match entries.number("general.file_type") {
            Some(0) => Stored::Floats(Precision::F32),
            Some(1) => Stored::Floats(Precision::F16),
            Some(32) => Stored::Floats(Precision::Bf16),
            _ => Stored::Blocks,
        },
        overhead: entries.overhead(bytes.len() as u64),
    })
}

/// The key-value pairs that matter here.
#[derive(Debug, Default)]
struct Entries {
    architecture: Option<String>,
    numbers: Vec<(String, u64)>,
    tensors: u64,
    /// Elements of the longest list, which is the vocabulary or its merges.
    longest_list: u64,
    /// Where the pairs end, where that was reached.
    end: Option<u64>,
}

impl Entries {
    fn number(&self, key: &str) -> Option<u64> {
        let mut all = self.numbers.iter();
        all.find_map(|(name, number)| (name == key).then_some(*number))
    }

    /// Bytes at most before the weights, of a file of which so many were read.
    fn overhead(&self, read: u64) -> u64 {
        let pairs = match self.end {
            Some(end) => end,
            None => read.saturating_add(self.longest_list.saturating_mul(WORD)),
        };
        pairs.saturating_add(self.tensors.saturating_mul(TENSOR))
    }
}

/// One value of a pair.
enum Value {
    Text(String),
    Number(u64),
    Other,
}

/// Reads from the front. `None` is the end of what there is.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    /// The pairs as far as they were read; `None` where this is no GGUF file.
    fn entries(&mut self) -> Option<Entries> {
        if self.take(MAGIC.len())? != MAGIC || !matches!(self.u32()?, 2 | 3) {
            return None;
        }
        let mut entries = Entries {
            tensors: self.u64()?,
            ..Entries::default()
        };
        let pairs = self.u64()?;
        for _ in 0..pairs {
            if self.pair(&mut entries).is_none() {
                return Some(entries);
            }
        }
        entries.end = Some(self.position as u64);
        Some(entries)
    }

    fn pair(&mut self, entries: &mut Entries) -> Option<()> {
        let key = self.text()?;
        let kind = self.u32()?;
        match self.value(kind, &mut entries.longest_list)? {
            Value::Text(name) if key == "general.architecture" => entries.architecture = Some(name),
            Value::Number(number) if entries.numbers.len() < MOST_KEPT => {
                entries.numbers.push((key, number));
            }
            _ => {}
        }
        Some(())
    }

    /// A value of this kind. The length of a list counts even where the list breaks off.
    fn value(&mut self, kind: u32, longest_list: &mut u64) -> Option<Value> {
        const TEXT: u32 = 8;
        const ARRAY: u32 = 9;
        Some(match kind {
            TEXT => Value::Text(self.text()?),
            ARRAY => {
                let (kind, count) = (self.u32()?, self.u64()?);
                *longest_list = (*longest_list).max(count);
                self.skip_elements(kind, count)?;
                Value::Other
            }
            0 => Value::Number(self.take(1)?.first().copied()?.into()),
            2 => Value::Number(u16::from_le_bytes(self.array()?).into()),
            4 => Value::Number(self.u32()?.into()),
            10 => Value::Number(self.u64()?),
            // Signed numbers; none of those that matter is negative.
            5 => signed(i32::from_le_bytes(self.array()?).into()),
            11 => signed(i64::from_le_bytes(self.array()?)),
            other => {
                self.take(width(other)?)?;
                Value::Other
            }
        })
    }

    fn skip_elements(&mut self, kind: u32, count: u64) -> Option<()> {
        if let Some(width) = width(kind) {
            let bytes = usize::try_from(count).ok()?.checked_mul(width)?;
            self.take(bytes)?;
            return Some(());
        }
        // Each text takes bytes, so that a lie about their number ends with the bytes. Lists of lists do not occur.
        for _ in 0..count {
            if kind != 8 {
                return None;
            }
            let length = usize::try_from(self.u64()?).ok()?;
            self.take(length)?;
        }
        Some(())
    }

    /// A text; one that is longer than any that matters is empty.
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u64()?).ok()?;
        let bytes = self.take(length)?;
        let short = bytes.get(..length.min(LONGEST_TEXT + 1))?;
        if short.len() > LONGEST_TEXT {
            return Some(String::new());
        }
        Some(String::from_utf8_lossy(short).into_owned())
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.position.checked_add(count)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }
}

fn signed(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Other, Value::Number)
}

/// Bytes of a value of a kind that always has as many.
const fn width(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's beginning, of pairs that are written already.
    fn file(pairs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend((pairs.len() as u64).to_le_bytes());
        bytes.extend(pairs.iter().flatten());
        bytes
    }

    fn text(value: &str) -> Vec<u8> {
        let mut bytes = (value.len() as u64).to_le_bytes().to_vec();
        bytes.extend(value.as_bytes());
        bytes
    }

    fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
        [&text(key), &kind.to_le_bytes()[..], value].concat()
    }

    fn number(key: &str, number: u32) -> Vec<u8> {
        pair(key, 4, &number.to_le_bytes())
    }

    fn words(count: u64, words: &[&str]) -> Vec<u8> {
        let mut value = [&8_u32.to_le_bytes()[..], &count.to_le_bytes()].concat();
        value.extend(words.iter().flat_map(|word| text(word)));
        pair("tokenizer.ggml.tokens", 9, &value)
    }

    fn dimensions() -> Vec<Vec<u8>> {
        vec![
            pair("general.architecture", 8, &text("llama")),
            number("llama.block_count", 30),
            number("llama.context_length", 8192),
            number("llama.embedding_length", 576),
            number("llama.attention.head_count", 9),
            number("llama.attention.head_count_kv", 3),
            number("general.file_type", 1),
        ]
    }

    #[test]
    fn the_dimensions_are_read() {
        let header = read(&file(&dimensions())).unwrap();
        let shape = Shape {
            layers: 30,
            kv_heads: 3,
            head_dim: 64,
            context_length: 8192,
        };
        assert_eq!(header.shape, shape);
        assert_eq!(header.stored, Stored::Floats(Precision::F16));
    }

    #[test]
    fn a_head_may_have_a_width_of_its_own_and_keys_as_many_heads_as_queries() {
        let mut pairs = dimensions();
        pairs[5] = number("llama.attention.key_length", 128);
        pairs[6] = number("general.file_type", 15);
        let header = read(&file(&pairs)).unwrap();
        assert_eq!((header.shape.kv_heads, header.shape.head_dim), (9, 128));
        assert_eq!(header.stored, Stored::Blocks);
    }

    #[test]
    fn what_follows_the_dimensions_may_break_off_anywhere() {
        let mut pairs = dimensions();
        let listed = file(&pairs).len() + words(4, &[]).len();
        pairs.push(words(4, &["a", "b", "c", "d"]));
        let whole = file(&pairs);
        for length in listed..=whole.len() {
            let header = read(&whole[..length]).unwrap();
            assert_eq!(header.shape.layers, 30, "cut at {length}");
        }
        let of_tensors = 7 * TENSOR;
        assert_eq!(
            read(&whole).unwrap().overhead,
            whole.len() as u64 + of_tensors
        );
        let cut = &whole[..whole.len() - 1];
        let allowed = cut.len() as u64 + 4 * WORD + of_tensors;
        assert_eq!(read(cut).unwrap().overhead, allowed);
    }

    #[test]
    fn what_breaks_off_before_is_an_error_and_never_a_panic() {
        let mut pairs = dimensions();
        let before = file(&pairs).len();
        pairs.push(words(4, &["a", "b", "c", "d"]));
        let whole = file(&pairs);
        for length in 0..before {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        let message = read(&whole[..before - 20]).unwrap_err();
        assert!(message.contains("breaks off"), "{message}");
        assert!(read(b"<html>404</html>").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut pairs = dimensions();
        pairs.remove(2);
        let message = read(&file(&pairs)).unwrap_err();
        assert!(message.contains("llama.context_length"), "{message}");
    }

    #[test]
    fn lies_about_lengths_and_numbers_are_errors() {
        let with = |pair: Vec<u8>| {
            let mut pairs = dimensions();
            pairs.insert(0, pair);
            read(&file(&pairs))
        };
        let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
        for lie in [
            pair("a", 8, &u64::MAX.to_le_bytes()),
            pair("a", 9, &list(12, u64::MAX)),
            pair("a", 9, &list(8, u64::MAX)),
            pair("a", 9, &list(9, u64::MAX)),
            pair("a", 99, &[]),
        ] {
            assert!(with(lie).is_err());
        }
        let mut absurd = dimensions();
        absurd[1] = number("llama.block_count", u32::MAX);
        assert!(read(&file(&absurd)).is_err());
        let mut divided = dimensions();
        divided[4] = number("llama.attention.head_count", 0);
        divided[5] = number("llama.attention.head_count_kv", 0);
        assert!(read(&file(&divided)).is_err_and(|message| message.contains("KV heads")));
        let mut endless = file(&dimensions());
        endless[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&endless).is_err(), "the pairs end with the bytes");
    }
}

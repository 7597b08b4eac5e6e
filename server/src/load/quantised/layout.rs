//! Writes GGUF files, one tensor after the other, so that no more than one is in memory.
use crate::load::formats::bytes_of;
use candle_core::quantized::GgmlDType;
use std::{
    borrow::Cow,
    io::{self, Write},
};

/// The version of the format.
const VERSION: u32 = 3;
/// The kind of a value that is a text.
const TEXT: u32 = 8;
/// Tensors begin at multiples of this.
const ALIGNMENT: usize = 32;

/// What a tensor of the file is.
pub(super) struct Described<'a> {
    pub(super) name: &'a str,
    /// The slowest first.
    pub(super) dimensions: &'a [usize],
    pub(super) format: GgmlDType,
}

/// A file's header, and the length of each of its tensors.
pub(super) struct Layout {
    header: Vec<u8>,
    lengths: Vec<usize>,
}

impl Layout {
    /// Of a file with these key-value pairs and tensors. Nothing where a tensor is no whole blocks.
    pub(super) fn new(texts: &[(&str, &str)], tensors: &[Described<'_>]) -> Option<Self> {
        let mut header = Header(b"GGUF".to_vec());
        header.narrow(VERSION);
        header.wide(tensors.len());
        header.wide(texts.len());
        for (key, value) in texts {
            header.text(key);
            header.narrow(TEXT);
            header.text(value);
        }
        let mut lengths = Vec::new();
        let mut offset = 0_usize;
        for tensor in tensors {
            let mut elements = tensor.dimensions.iter();
            let elements = elements.try_fold(1_usize, |product, &dimension| {
                product.checked_mul(dimension)
            })?;
            let length = bytes_of(tensor.format, elements)?;
            header.text(tensor.name);
            header.narrow(u32::try_from(tensor.dimensions.len()).ok()?);
            // The fastest first.
            for &dimension in tensor.dimensions.iter().rev() {
                header.wide(dimension);
            }
            header.narrow(code(tensor.format));
            header.wide(offset);
            offset = offset.checked_add(length.checked_next_multiple_of(ALIGNMENT)?)?;
            lengths.push(length);
        }
        let Header(mut header) = header;
        header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
        Some(Self { header, lengths })
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        let tensors = self.lengths.iter();
        let tensors: usize = tensors
            .map(|length| length.next_multiple_of(ALIGNMENT))
            .sum();
        (self.header.len() + tensors) as u64
    }

    /// Writes the file with these tensors. The next is taken once the one before it is written.
    pub(super) fn write<'a>(
        &self,
        out: &mut impl Write,
        tensors: impl Iterator<Item = io::Result<Cow<'a, [u8]>>>,
    ) -> io::Result<()> {
        out.write_all(&self.header)?;
        for (&length, tensor) in self.lengths.iter().zip(tensors) {
            let tensor = tensor?;
            if tensor.len() != length {
                let problem = format!("a tensor has {} bytes instead of {length}", tensor.len());
                return Err(io::Error::other(problem));
            }
            out.write_all(&tensor)?;
            let gap = length.next_multiple_of(ALIGNMENT) - length;
            out.write_all(&[0; ALIGNMENT][..gap])?;
        }
        out.flush()
    }
}

/// A header on its way.
struct Header(Vec<u8>);

impl Header {
    fn narrow(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn wide(&mut self, number: usize) {
        self.0.extend_from_slice(&(number as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.wide(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// The number of a weight format, which the library keeps to itself.
const fn code(format: GgmlDType) -> u32 {
    match format {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q4_0 => 2,
        GgmlDType::Q4_1 => 3,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q5_1 => 7,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q8_1 => 9,
        GgmlDType::Q2K => 10,
        GgmlDType::Q3K => 11,
        GgmlDType::Q4K => 12,
        GgmlDType::Q5K => 13,
        GgmlDType::Q6K => 14,
        GgmlDType::Q8K => 15,
        GgmlDType::BF16 => 30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{gguf::GgufFile, source::WeightSource};
    use std::fs::{self, File};

    const FORMATS: [GgmlDType; 9] = [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q8_0,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ];

    fn layout(format: GgmlDType) -> Layout {
        let tensor = |name, dimensions| Described {
            name,
            dimensions,
            format,
        };
        let tensors = [tensor("a", &[3, 256][..]), tensor("b", &[256][..])];
        Layout::new(&[("general.name", "tiny")], &tensors).unwrap()
    }

    fn tensors(layout: &Layout) -> impl Iterator<Item = io::Result<Cow<'static, [u8]>>> {
        let lengths = layout.lengths.clone();
        (1..)
            .zip(lengths)
            .map(|(byte, length)| Ok(Cow::Owned(vec![byte; length])))
    }

    #[test]
    fn what_is_written_is_read_in_every_format() {
        for format in FORMATS {
            let layout = layout(format);
            let mut written = Vec::new();
            layout.write(&mut written, tensors(&layout)).unwrap();
            assert_eq!(written.len() as u64, layout.bytes());
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), &written).unwrap();
            let read = GgufFile::open(file.path()).unwrap();
            assert_eq!(read.metadata().text("general.name"), Some("tiny"));
            for (name, byte, dimensions) in [("a", 1, &[3, 256][..]), ("b", 2, &[256][..])] {
                let tensor = read.tensor(name).unwrap().unwrap();
                assert_eq!((tensor.format, tensor.dimensions), (format, dimensions));
                assert!(tensor.bytes.iter().all(|&found| found == byte));
            }
        }
    }

    /// Takes so many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_is_full_at_any_byte_is_an_error() {
        let layout = layout(GgmlDType::Q8_0);
        let whole = usize::try_from(layout.bytes()).unwrap();
        let write = |mut disk: &mut dyn Write| layout.write(&mut disk, tensors(&layout));
        for room in 0..whole {
            let error = write(&mut Disk(room)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "at {room}");
        }
        write(&mut Disk(whole)).unwrap();
        let mut device = File::options().write(true).open("/dev/full").unwrap();
        let error = write(&mut device).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_tensor_of_another_length_is_refused() {
        let layout = layout(GgmlDType::F32);
        let short = std::iter::once(Ok(Cow::Owned(vec![0; 4])));
        assert!(layout.write(&mut Vec::new(), short).is_err());
    }
}

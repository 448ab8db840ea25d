//! The table: a row of half-precision floats for each token, read from a safetensors file.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::Deserialize;

use super::Vector;
use super::bpe::Bpe;

/// A text's beginning says what it is about; the rest of a longer one is not looked at, so the work is bounded.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// No table that is meant for this is larger; a wrong file is refused before it fills the memory.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
const TENSOR: &str = "embedding.weight";

/// Why a table could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct BadTable {
    path: PathBuf,
    reason: String,
}

/// A static word-vector model.
pub struct Table {
    id: String,
    dimension: usize,
    /// Row after row, two bytes a number as in the file: half the memory of `f32`.
    rows: Vec<u8>,
    bpe: Bpe,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.id)
    }
}

impl Table {
    /// Reads a folder that holds one `.safetensors` file and one `.json` file, its tokenizer.
    pub fn load(folder: &Path) -> Result<Self, BadTable> {
        let (weights_path, tokenizer_path) = (only(folder, "safetensors")?, only(folder, "json")?);
        let (weights, tokenizer) = (read(&weights_path)?, read(&tokenizer_path)?);
        let id = identify(&weights_path, &weights, &tokenizer);
        let (count, dimension, rows) = matrix(weights).map_err(bad(&weights_path))?;
        let bpe = Bpe::parse(&tokenizer, count).map_err(bad(&tokenizer_path))?;
        Ok(Self { id: format!("{id}/{dimension}"), dimension, rows, bpe })
    }

    /// Names the model and its dimension. Other content is another id, whatever the file is called.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many numbers a vector has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// [`Table::embed`], with this model's name.
    pub fn vector(&self, text: &str) -> Option<Vector> {
        Some(Vector { model: self.id.clone(), values: self.embed(text)? })
    }

    /// What a text is about, as a vector of length 1; `None` when it says nothing.
    pub fn embed(&self, text: &str) -> Option<Vec<f32>> {
        let tokens = self.bpe.tokens(&text[..text.floor_char_boundary(MAX_TEXT_BYTES)]);
        let mut sum = vec![0f32; self.dimension];
        for token in tokens {
            let start = usize::try_from(token).ok()? * self.dimension * 2;
            let row = self.rows.get(start..start + self.dimension * 2)?;
            for (sum, half) in sum.iter_mut().zip(row.chunks_exact(2)) {
                *sum += from_half(u16::from_le_bytes([half[0], half[1]]));
            }
        }
        // The mean differs from the sum in its length only, and that becomes 1.
        let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
        (length.is_finite() && length > 0.0).then(|| sum.iter().map(|x| x / length).collect())
    }
}

fn bad<T: Into<String>>(path: &Path) -> impl Fn(T) -> BadTable {
    move |reason| BadTable { path: path.to_owned(), reason: reason.into() }
}

fn only(folder: &Path, extension: &str) -> Result<PathBuf, BadTable> {
    let entries = std::fs::read_dir(folder).map_err(|error| bad(folder)(error.to_string()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut found: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    match (found.pop(), found.pop()) {
        (Some(path), None) => Ok(path),
        (None, _) => Err(bad(folder)(format!("holds no .{extension} file"))),
        (Some(_), Some(_)) => Err(bad(folder)(format!("holds several .{extension} files"))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BadTable> {
    let io = |error: std::io::Error| bad(path)(error.to_string());
    if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
        return Err(bad(path)("too large for a word-vector table"));
    }
    std::fs::read(path).map_err(io)
}

fn identify(path: &Path, weights: &[u8], tokenizer: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(weights);
    hash.update(tokenizer);
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    hash.finish().as_ref()[..4].iter().fold(id + "@", |id, byte| format!("{id}{byte:02x}"))
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "embedding.weight")]
    table: Option<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The one tensor of a safetensors file: eight bytes that say how long the JSON header is, the header, the data.
fn matrix(mut file: Vec<u8>) -> Result<(usize, usize, Vec<u8>), String> {
    let (length, rest) = file.split_first_chunk::<8>().ok_or("not a safetensors file: too short")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|error| error.to_string())?;
    let header = rest.get(..length).ok_or("not a safetensors file: its header is cut off")?;
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("not a safetensors file: {error}"))?;
    let table = header.table.ok_or_else(|| format!("has no tensor {TENSOR}"))?;
    let &[count, dimension] = table.shape.as_slice() else {
        return Err(format!("{TENSOR} has {} dimensions, not 2", table.shape.len()));
    };
    if table.dtype != "F16" || dimension == 0 {
        return Err(format!("{TENSOR} holds {} by {dimension}, not F16", table.dtype));
    }
    let [from, to] = table.data_offsets;
    let expected = count.checked_mul(dimension).and_then(|n| n.checked_mul(2));
    let start = (8 + length).checked_add(from).filter(|_| to.checked_sub(from) == expected);
    let end = start.zip(expected).and_then(|(start, size)| start.checked_add(size)).filter(|end| *end <= file.len());
    let (Some(start), Some(end)) = (start, end) else {
        return Err(format!("{TENSOR} is not {count} by {dimension} numbers: the file is cut off or damaged"));
    };
    file.truncate(end);
    file.drain(..start);
    Ok((count, dimension, file))
}

/// IEEE 754 half to single precision.
fn from_half(half: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(half >> 15) << 31, (half >> 10) & 0x1f, u32::from(half & 0x3ff));
    match exponent {
        // Subnormal: a multiple of 2^-24; the sign goes on afterwards.
        0 => {
            let magnitude = f32::from(half & 0x3ff) / 16_777_216.0;
            f32::from_bits(sign | magnitude.to_bits())
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((u32::from(exponent) + 112) << 23) | (fraction << 13)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meaning::bpe;

    #[test]
    fn halves_become_singles() {
        let cases: [(u16, f32); 7] = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x8001, -5.960_464_5e-8),
        ];
        for (half, single) in cases {
            assert_eq!(from_half(half).to_bits(), single.to_bits(), "{half:04x}");
        }
        assert!(from_half(0x7c00).is_infinite() && from_half(0x7e00).is_nan());
    }

    fn safetensors(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn damaged_files_are_refused_with_the_reason() {
        let header = r#"{"embedding.weight":{"dtype":"F16","shape":[3,2],"data_offsets":[0,12]}}"#;
        assert_eq!(matrix(safetensors(header, 12)).unwrap(), (3, 2, vec![0; 12]));
        let refused = |header: &str, data| matrix(safetensors(header, data)).unwrap_err();
        assert!(refused(header, 11).contains("cut off or damaged"));
        assert!(refused(&header.replace("[0,12]", "[0,14]"), 14).contains("damaged"));
        assert!(refused(&header.replace("[0,12]", "[12,0]"), 14).contains("damaged"));
        assert!(refused(&header.replace("[3,2]", "[3]"), 12).contains("1 dimensions"));
        assert!(refused(&header.replace("[3,2]", "[9223372036854775807,2]"), 12).contains("damaged"));
        assert!(refused(&header.replace("F16", "F32"), 12).contains("F32"));
        assert!(refused("{}", 12).contains("no tensor"));
        assert!(matrix(vec![1; 7]).unwrap_err().contains("too short"));
        assert!(matrix(vec![255; 20]).unwrap_err().contains("cut off"));
    }

    #[test]
    fn a_folder_without_the_two_files_is_named() {
        let folder = std::env::temp_dir().join(format!("strowger-meaning-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let refused = |folder: &Path| Table::load(folder).unwrap_err().to_string();
        assert!(refused(&folder).ends_with("holds no .safetensors file"));
        assert!(refused(&folder.join("nowhere")).contains("nowhere"));
        let header = r#"{"embedding.weight":{"dtype":"F16","shape":[264,1],"data_offsets":[0,528]}}"#;
        std::fs::write(folder.join("tiny.safetensors"), safetensors(header, 528)).unwrap();
        assert!(refused(&folder).ends_with("holds no .json file"));
        std::fs::write(folder.join("tokenizer.json"), bpe::tests::small()).unwrap();
        let table = Table::load(&folder).unwrap();
        assert!(table.id().starts_with("tiny@") && table.id().ends_with("/1"));
        assert_eq!(table.embed("ab"), None, "all zeroes: it says nothing");
        std::fs::write(folder.join("second.json"), "{}").unwrap();
        assert!(refused(&folder).ends_with("holds several .json files"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

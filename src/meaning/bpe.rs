//! The tokenizer: byte-pair merges as SentencePiece models do them, spaces written as `▁`.
//!
//! A text begins as single characters; the pair of neighbours that was learnt first is merged, again and again, until no
//! learnt pair is left. A character outside the vocabulary is its UTF-8 bytes, each a token `<0x..>`. Control words of the
//! model, such as `<s>`, are ordinary text here: what a caller says is never a command.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use serde::Deserialize;
use serde_json::{Value, json};

/// Two neighbours.
type Pair = (u32, u32);

/// What a learnt pair becomes. A smaller rank was learnt earlier.
#[derive(Clone, Copy)]
struct Learnt {
    rank: u32,
    merged: u32,
}

/// Neighbours that may be merged: their rank, where the left one stands, and what they were when this was noted.
type Candidate = Reverse<(u32, usize, Pair)>;

/// Cuts a text into tokens.
pub(super) struct Bpe {
    characters: HashMap<char, u32>,
    merges: HashMap<Pair, Learnt>,
    bytes: [u32; 256],
}

#[derive(Deserialize)]
struct File {
    normalizer: Value,
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    byte_fallback: bool,
    vocab: HashMap<String, u32>,
    merges: Vec<String>,
}

impl Bpe {
    /// Reads a Hugging Face `tokenizer.json`. Says what is wrong with any that means something else than what is done here.
    pub(super) fn parse(text: &[u8], rows: usize) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|error| format!("not a tokenizer's JSON: {error}"))?;
        if file.model.kind != "BPE" || !file.model.byte_fallback {
            return Err("a tokenizer of another kind: BPE with byte fallback is read".into());
        }
        if file.normalizer != spaces_become_marks() || !file.pre_tokenizer.is_null() {
            return Err("a tokenizer that prepares its text in another way".into());
        }
        let vocab = &file.model.vocab;
        if let Some((_, id)) = vocab.iter().find(|(_, id)| usize::try_from(**id).map_or(true, |id| id >= rows)) {
            return Err(format!("token {id} has no vector: the table has {rows}"));
        }
        Ok(Self { characters: characters(vocab), merges: merges(vocab, &file.model.merges)?, bytes: bytes(vocab)? })
    }

    /// The tokens of a text; none of an empty one.
    pub(super) fn tokens(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut parts = Parts(Vec::with_capacity(text.len() + 1));
        for character in std::iter::once('▁').chain(text.chars().map(|c| if c == ' ' { '▁' } else { c })) {
            match self.characters.get(&character) {
                Some(id) => parts.push(*id),
                None => {
                    character
                        .encode_utf8(&mut [0; 4])
                        .bytes()
                        .for_each(|byte| parts.push(self.bytes[usize::from(byte)]));
                }
            }
        }
        self.merge(&mut parts);
        parts.0.iter().filter(|part| part.alive).map(|part| part.id).collect()
    }

    /// Merges what was learnt earliest, leftmost first, until nothing is left to merge.
    fn merge(&self, parts: &mut Parts) {
        let mut queue: BinaryHeap<_> = (0..parts.0.len()).filter_map(|left| self.candidate(parts, left)).collect();
        while let Some(Reverse((_, left, pair))) = queue.pop() {
            // What stood here may have been merged with another neighbour since.
            if parts.pair(left) != Some(pair) {
                continue;
            }
            let Some(learnt) = self.merges.get(&pair) else { continue };
            parts.join(left, learnt.merged);
            queue.extend(parts.0[left].before.and_then(|before| self.candidate(parts, before)));
            queue.extend(self.candidate(parts, left));
        }
    }

    fn candidate(&self, parts: &Parts, left: usize) -> Option<Candidate> {
        let pair = parts.pair(left)?;
        self.merges.get(&pair).map(|learnt| Reverse((learnt.rank, left, pair)))
    }
}

/// A text while it is being merged: a list whose members know their neighbours.
struct Parts(Vec<Part>);

struct Part {
    id: u32,
    before: Option<usize>,
    after: Option<usize>,
    alive: bool,
}

impl Parts {
    fn push(&mut self, id: u32) {
        let at = self.0.len();
        if let Some(last) = self.0.last_mut() {
            last.after = Some(at);
        }
        self.0.push(Part { id, before: at.checked_sub(1), after: None, alive: true });
    }

    fn pair(&self, left: usize) -> Option<Pair> {
        let part = &self.0[left];
        let after = part.after.filter(|_| part.alive)?;
        Some((part.id, self.0[after].id))
    }

    fn join(&mut self, left: usize, id: u32) {
        let Some(right) = self.0[left].after else { return };
        let after = self.0[right].after;
        self.0[right].alive = false;
        self.0[left].id = id;
        self.0[left].after = after;
        if let Some(after) = after {
            self.0[after].before = Some(left);
        }
    }
}

fn spaces_become_marks() -> Value {
    json!({ "type": "Sequence", "normalizers": [
        { "type": "Prepend", "prepend": "▁" },
        { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
    ]})
}

fn characters(vocab: &HashMap<String, u32>) -> HashMap<char, u32> {
    let single = |text: &str| text.chars().next().filter(|c| c.len_utf8() == text.len());
    vocab.iter().filter_map(|(text, id)| Some((single(text)?, *id))).collect()
}

fn merges(vocab: &HashMap<String, u32>, learnt: &[String]) -> Result<HashMap<Pair, Learnt>, String> {
    let known = |pair: &str| {
        let (left, right) = pair.split_once(' ')?;
        Some(((*vocab.get(left)?, *vocab.get(right)?), *vocab.get(&[left, right].concat())?))
    };
    let mut merges = HashMap::with_capacity(learnt.len());
    for (rank, pair) in (0..).zip(learnt) {
        let (pair, merged) = known(pair).ok_or_else(|| format!("merge {rank} is not of tokens in the vocabulary"))?;
        merges.entry(pair).or_insert(Learnt { rank, merged });
    }
    Ok(merges)
}

fn bytes(vocab: &HashMap<String, u32>) -> Result<[u32; 256], String> {
    let mut bytes = [0; 256];
    for (byte, id) in bytes.iter_mut().enumerate() {
        let name = format!("<0x{byte:02X}>");
        *id = *vocab.get(&name).ok_or_else(|| format!("the vocabulary lacks {name}"))?;
    }
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tokenizer of the same form, small enough to work by hand.
    pub(in crate::meaning) fn small() -> String {
        let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
        let words = ["▁", "a", "b", "c", "ab", "▁ab", "bc", "▁a"].map(String::from);
        let vocab: serde_json::Map<_, _> = bytes.chain(words).zip((0u32..).map(Value::from)).collect();
        json!({ "normalizer": spaces_become_marks(), "pre_tokenizer": null, "model": {
            "type": "BPE", "byte_fallback": true, "vocab": vocab, "merges": ["a b", "b c", "▁ ab", "▁ a"],
        }})
        .to_string()
    }

    #[test]
    fn earlier_pairs_are_merged_first() {
        let bpe = Bpe::parse(small().as_bytes(), 264).unwrap();
        let (ab, c, mark_ab, bc, mark_a) = (260, 259, 261, 262, 263);
        assert_eq!(bpe.tokens("ab"), [mark_ab]);
        assert_eq!(bpe.tokens("abc"), [mark_ab, c], "a b was learnt before b c");
        assert_eq!(bpe.tokens("bc a"), [256, bc, mark_a]);
        assert_eq!(bpe.tokens("abab"), [mark_ab, ab]);
        assert_eq!(bpe.tokens("é"), [256, 0xC3, 0xA9], "an unknown character is its bytes");
        assert!(bpe.tokens("").is_empty());
    }

    #[test]
    fn other_tokenizers_are_refused_with_the_reason() {
        let refused = |from: &str, to: &str| Bpe::parse(small().replace(from, to).as_bytes(), 264).err().unwrap();
        assert!(refused("BPE", "Unigram").contains("another kind"));
        assert!(refused("\"pre_tokenizer\":null", "\"pre_tokenizer\":1").contains("prepares its text"));
        assert!(refused("▁ ab", "▁ zz").contains("merge 2"));
        assert!(refused("<0x00>", "<0y00>").contains("lacks <0x00>"));
        assert!(Bpe::parse(small().as_bytes(), 263).err().unwrap().contains("has no vector"));
        assert!(Bpe::parse(b"{", 264).err().unwrap().contains("JSON"));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_into_known_tokens(text in "\\PC{0,80}") {
            let bpe = Bpe::parse(small().as_bytes(), 264).unwrap();
            let tokens = bpe.tokens(&text);
            prop_assert!(tokens.len() <= text.len() + 1);
            prop_assert!(tokens.iter().all(|id| *id < 264));
        }
    }
}

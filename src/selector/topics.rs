//! What an answer is about, as opposed to all the others.
//!
//! A linear classifier over the vectors of whole phrases: a ridge regression that gives 1 for an answer's own phrases and 0 for
//! everybody else's, with each answer counting the same however many phrases it has. So what all phrases of a business have in
//! common ("can you … my …") tells nothing, which the mean of an answer's phrases does not know.
//!
//! Preparing costs the square of a vector's length for each phrase and each answer and its cube once, so no more than [`MOST_PHRASES`] are
//! learnt from: beyond, each answer is known by so many of its phrases, evenly spread over them, as come to that together, and by one
//! at least. Words are compared with all of them still. Comparing costs one product for each answer.

/// How much a phrase may be wrong before another is bent to fit it. Chosen by cross-validation on `tests/quality/utterances.tsv`.
const RIDGE: f64 = 0.03;

/// Half a gigaflop with vectors of 256 numbers.
pub(super) const MOST_PHRASES: usize = 16_384;

/// Whether the `nth` of an answer's `of` phrases is learnt from, when there are so many answers.
pub(super) fn is_learnt(nth: usize, of: usize, answers: usize) -> bool {
    let most = (MOST_PHRASES / answers).max(1);
    of <= most || nth * most / of != (nth + 1) * most / of
}

/// For each answer what an utterance is multiplied with; empty for an answer that no vector is known of.
pub(super) struct Topics(Vec<Vec<f32>>);

impl Topics {
    /// `phrases` are each phrase's answer and its vector, all of one length.
    pub(super) fn new(answers: usize, mut phrases: Vec<(usize, Vec<f32>)>) -> Self {
        let mut counts = vec![0.0_f64; answers];
        for (answer, _) in &phrases {
            counts[*answer] += 1.0;
        }
        // Sums are rounded: in one order they come to the same whatever order the corpus is in.
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        phrases.sort_by_cached_key(|(answer, vector)| (bits(vector), counts[*answer].to_bits()));

        let length = phrases.first().map_or(0, |(_, vector)| vector.len());
        let mut spread = vec![vec![0.0; length]; length];
        let mut means = vec![vec![]; answers];
        for (answer, vector) in &phrases {
            let vector: Vec<f64> = vector.iter().map(|x| f64::from(*x)).collect();
            let share = 1.0 / counts[*answer];
            // The lower triangle: the rest is its mirror image.
            for (i, (row, x)) in spread.iter_mut().zip(&vector).enumerate() {
                add(&mut row[..=i], x * share, &vector);
            }
            means[*answer].resize(length, 0.0);
            add(&mut means[*answer], share, &vector);
        }
        spread.iter_mut().enumerate().for_each(|(i, row)| row[i] += RIDGE);
        let root = Root::of(spread);
        Self(means.into_iter().map(|mean| root.solve(mean)).collect())
    }

    /// For each answer, how much a text of this vector is about it: about 1 for its own phrases, 0 for others.
    pub(super) fn of(&self, vector: &[f32]) -> Vec<f64> {
        self.0.iter().map(|topic| dot(topic, vector)).collect()
    }
}

/// Adds `factor` times a vector to as much of it as `sum` has.
fn add(sum: &mut [f64], factor: f64, vector: &[f64]) {
    sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += factor * x);
}

/// The lower triangle whose product with its transpose is a positive definite matrix (Cholesky).
struct Root(Vec<Vec<f64>>);

impl Root {
    fn of(mut matrix: Vec<Vec<f64>>) -> Self {
        for i in 0..matrix.len() {
            let (done, rest) = matrix.split_at_mut(i);
            let row = &mut rest[0];
            for (j, other) in done.iter().enumerate() {
                row[j] = (row[j] - product(&row[..j], &other[..j])) / other[j];
            }
            row[i] = (row[i] - product(&row[..i], &row[..i])).sqrt();
            row.truncate(i + 1);
        }
        Self(matrix)
    }

    /// Of a system whose matrix it is the root of; nothing for no right side.
    fn solve(&self, mut right: Vec<f64>) -> Vec<f32> {
        if right.is_empty() {
            return vec![];
        }
        for (i, row) in self.0.iter().enumerate() {
            right[i] = (right[i] - product(&row[..i], &right[..i])) / row[i];
        }
        for (i, row) in self.0.iter().enumerate().rev() {
            right[i] /= row[i];
            let known = right[i];
            add(&mut right[..i], -known, row);
        }
        #[expect(clippy::cast_possible_truncation, reason = "vectors are single precision")]
        right.into_iter().map(|x| x as f32).collect()
    }
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Eight sums side by side, which the compiler turns into vector instructions.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f32; 8];
    for (x, y) in a.chunks(8).zip(b.chunks(8)) {
        x.iter().zip(y).zip(&mut sums).for_each(|((x, y), sum)| *sum += x * y);
    }
    sums.iter().copied().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three phrases of two answers in two dimensions. Scaled by their answer's number of phrases, the spread is
    /// ½(1,0)(1,0)ᵀ + ½(0.6,0.8)(0.6,0.8)ᵀ + (0,1)(0,1)ᵀ = (0.68, 0.24; 0.24, 1.32), and 0.03 more on its diagonal.
    ///
    /// Turns red when an answer of many phrases counts for more.
    #[test]
    fn a_hand_worked_regression() {
        let topics = Topics::new(3, vec![(0, vec![1.0, 0.0]), (0, vec![0.6, 0.8]), (1, vec![0.0, 1.0])]);
        let determinant = 0.71 * 1.35 - 0.24 * 0.24;
        // The means are (0.8, 0.4) and (0, 1).
        let first = [(1.35 * 0.8 - 0.24 * 0.4) / determinant, (0.71 * 0.4 - 0.24 * 0.8) / determinant];
        let second = [-0.24 / determinant, 0.71 / determinant];
        for (axis, vector) in [[1.0, 0.0], [0.0, 1.0]].iter().enumerate() {
            let of = topics.of(vector);
            assert!((of[0] - first[axis]).abs() < 1e-6 && (of[1] - second[axis]).abs() < 1e-6, "{of:?}");
            assert_eq!(of[2].to_bits(), 0.0_f64.to_bits(), "no phrases, no topic");
        }
    }

    /// 4,096 answers may have four phrases each. Turns red when an answer of many phrases is cut off after its first few.
    #[test]
    fn of_too_many_phrases_each_answer_keeps_its_share_evenly_spread() {
        let learnt = |of, answers| (0..of).filter(|nth| is_learnt(*nth, of, answers)).collect::<Vec<_>>();
        assert_eq!(learnt(4, 4096), [0, 1, 2, 3]);
        assert_eq!(learnt(8, 4096), [1, 3, 5, 7]);
        assert_eq!(learnt(100, 4096), [24, 49, 74, 99]);
        assert_eq!(learnt(3, 1_000_000), [2], "one at least");
    }

    /// Turns red when the phrases are summed up in the order in which they come.
    #[test]
    fn the_order_of_phrases_does_not_matter() {
        // Long, and almost of one direction, so that the solution depends on the last digits of the sums.
        let vector = |at: u16| (1..9_u16).map(|x| 1000.0 * f32::from(x) + f32::from(at * x).sin()).collect();
        let phrases: Vec<(usize, Vec<f32>)> = (1..400_u16).map(|at| (usize::from(at % 7), vector(at))).collect();
        let mut reversed = phrases.clone();
        reversed.reverse();
        let said = [0.3, -0.1, 0.7, 0.2, 0.5, -0.4, 0.1, 0.9];
        let bits = |phrases| Topics::new(7, phrases).of(&said).into_iter().map(f64::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(phrases), bits(reversed));
    }
}

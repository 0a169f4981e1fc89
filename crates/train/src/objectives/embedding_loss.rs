//! What embeddings of groups of texts cost: a function each, by sentence-transformers' names and defaults.

use rappel_config::{Options, Range, Words};
use rappel_data::TextGroupsFormat;
use rappel_model::unit_length;
use rappel_tensor::{CrossEntropy, DType, Tensor, concat, cross_entropy};

/// A loss of a batch of texts' embeddings, where `cos` is the cosine of two embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum EmbeddingLoss {
    /// The mean over anchors of `-ln softmax(scale cos)` of their own positive, among the positives and negatives of the whole
    /// batch (van den Oord et al., <https://arxiv.org/abs/1807.03748>; Henderson et al.,
    /// <https://arxiv.org/abs/1705.00652>).
    MultipleNegativesRanking,
    /// `ln(1 + sum exp(scale (cos_i - cos_j)))` over the pairs of rows of which `i` has the lower score (Su,
    /// <https://kexue.fm/archives/8847>).
    Cosent,
    /// The mean over rows of `(cos - score)^2`.
    CosineSimilarity,
    /// The mean over rows of `max(0, d(anchor, positive) - d(anchor, negative) + triplet_margin)` (Schroff et al.,
    /// <https://arxiv.org/abs/1503.03832>).
    Triplet,
    /// Half the mean over rows of `(1 - cos)^2` where texts belong together, `max(0, margin - (1 - cos))^2` where not
    /// (Hadsell et al., 2006).
    Contrastive,
    /// The sum of the same, without the half, over the hard rows alone: texts that belong together and are further apart than
    /// some that do not, and the other way round.
    OnlineContrastive,
}

/// How far apart two embeddings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Distance {
    /// `1 - cos`.
    Cosine,
    /// The length of the difference.
    Euclidean,
    /// The sum of the absolute differences.
    Manhattan,
}

/// The section `loss` of the task `embedding`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct EmbeddingLossOptions {
    /// what is learned; unset: multiple_negatives_ranking of pairs and triplets, cosent of pairs with scores,
    /// online_contrastive of pairs that belong together or do not
    #[option(aka("name", "type", "loss"))]
    pub loss_type: Option<EmbeddingLoss>,
    /// what cosines are multiplied by, of multiple_negatives_ranking and cosent: the inverse of a temperature
    #[option(default = 20.0, range = Range::above(0.0))]
    pub scale: f64,
    /// by how much negatives are to be further than positives, of triplet
    #[option(default = 5.0, range = 0.0..)]
    pub triplet_margin: f64,
    /// distance of triplet
    #[option(default = Distance::Euclidean)]
    pub distance_metric: Distance,
    /// distance beyond which texts that do not belong together cost nothing, of contrastive and online_contrastive
    #[option(default = 0.5, range = 0.0..)]
    pub margin: f64,
    /// the loss is the sum of those of embeddings cut to so many numbers each, of which any is then of use (Kusupati et al.,
    /// 2022)
    #[option(default = [], range = 1..)]
    pub matryoshka_dims: Vec<usize>,
}

impl EmbeddingLoss {
    /// That of rows of a format, where the config names none.
    fn of(format: TextGroupsFormat) -> Self {
        match format {
            TextGroupsFormat::Pair | TextGroupsFormat::Triplet => Self::MultipleNegativesRanking,
            TextGroupsFormat::PairScore => Self::Cosent,
            TextGroupsFormat::PairClass => Self::OnlineContrastive,
        }
    }

    /// Whether it learns from rows of a format of so many texts, or what it needs.
    fn learns_from(self, format: TextGroupsFormat, columns: usize) -> Result<(), &'static str> {
        let is_ranked = matches!(format, TextGroupsFormat::Pair | TextGroupsFormat::Triplet);
        let (fits, needs) = match self {
            Self::MultipleNegativesRanking => {
                (is_ranked, "rows without numbers: an anchor, a positive and perhaps negatives")
            }
            Self::Cosent | Self::CosineSimilarity => (!is_ranked, "two texts and their score"),
            Self::Triplet => (columns == 3, "an anchor, a positive and one negative"),
            Self::Contrastive | Self::OnlineContrastive => {
                (format == TextGroupsFormat::PairClass, "two texts and a label that is 0 or 1")
            }
        };
        if fits { Ok(()) } else { Err(needs) }
    }
}

impl EmbeddingLossOptions {
    /// With a loss that learns from such rows.
    ///
    /// # Errors
    /// The key that does not fit, and why.
    pub(crate) fn for_rows(
        self,
        format: TextGroupsFormat,
        columns: usize,
        width: usize,
    ) -> Result<Self, (&'static str, String)> {
        let loss = self.loss_type.unwrap_or_else(|| EmbeddingLoss::of(format));
        loss.learns_from(format, columns).map_err(|needs| {
            let reason = format!(
                "{} needs {needs}; the data is of the format {} with {columns} texts in a row",
                loss.word(),
                format.word()
            );
            ("loss_type", reason)
        })?;
        if let Some(dims) = self.matryoshka_dims.iter().find(|dims| **dims > width) {
            return Err((
                "matryoshka_dims",
                format!("{dims} is more than the {width} numbers of an embedding"),
            ));
        }
        Ok(Self { loss_type: Some(loss), ..self })
    }

    /// The name of the loss, once it is known.
    pub(crate) fn word(&self) -> &'static str {
        self.loss_type.map_or("", EmbeddingLoss::word)
    }

    /// The loss of the embeddings `[rows, width]` of each column, with the rows' numbers.
    #[track_caller]
    pub(crate) fn of(&self, columns: &[Tensor], numbers: &[f64]) -> Tensor {
        if self.matryoshka_dims.is_empty() {
            return self.of_width(columns, numbers);
        }
        let cut = |dims: &usize| {
            let columns: Vec<Tensor> = columns.iter().map(|all| all.narrow(1, 0, *dims)).collect();
            self.of_width(&columns, numbers)
        };
        let losses = self.matryoshka_dims.iter().map(cut);
        losses.reduce(|a, b| a + b).expect("dims")
    }

    fn of_width(&self, columns: &[Tensor], numbers: &[f64]) -> Tensor {
        let [first, second] = [&columns[0], &columns[1]];
        match self.loss_type.expect("chosen by for_rows") {
            EmbeddingLoss::MultipleNegativesRanking => self.ranking(columns),
            EmbeddingLoss::Cosent => self.cosent(&cosines(first, second), numbers),
            EmbeddingLoss::CosineSimilarity => {
                (cosines(first, second) - of_rows(numbers)).square().mean()
            }
            EmbeddingLoss::Triplet => {
                let [near, far] = [second, &columns[2]].map(|other| self.distances(first, other));
                (near - far + self.triplet_margin).relu().mean()
            }
            EmbeddingLoss::Contrastive => self.contrastive(first, second, numbers).mean() * 0.5,
            EmbeddingLoss::OnlineContrastive => {
                let distances = distances(first, second);
                let hard = hard(&distances.to_f64_vec(), numbers);
                (self.contrastive(first, second, numbers) * of_rows(&hard)).sum()
            }
        }
    }

    fn ranking(&self, columns: &[Tensor]) -> Tensor {
        let anchors = unit_length(&columns[0]);
        let others: Vec<Tensor> = columns[1..].iter().map(unit_length).collect();
        let others = concat(&others.iter().collect::<Vec<_>>(), 0);
        let scores = anchors.matmul(&others.t()) * self.scale;
        let own: Vec<i64> = (0..anchors.size(0) as i64).collect();
        cross_entropy(&scores, &Tensor::from_slice(&own, [own.len()]), &CrossEntropy::default())
    }

    fn cosent(&self, cosines: &Tensor, numbers: &[f64]) -> Tensor {
        let rows = 0..numbers.len();
        let pairs = rows.clone().flat_map(|i| rows.clone().map(move |j| (i, j)));
        let (lower, higher): (Vec<i64>, Vec<i64>) = pairs
            .filter(|(i, j)| numbers[*i] < numbers[*j])
            .map(|(i, j)| (i as i64, j as i64))
            .unzip();
        let zero = Tensor::zeros([1], cosines.dtype());
        if lower.is_empty() {
            // Nothing is to be in order; the loss is a constant, of which each cosine is a part.
            return (cosines * 0.0).sum();
        }
        let of = |rows: Vec<i64>| cosines.index_select(0, &Tensor::from_slice(&rows, [rows.len()]));
        let apart = (of(lower) - of(higher)) * self.scale;
        concat(&[&zero, &apart], 0).logsumexp(0)
    }

    /// `[rows]`: `(1 - cos)^2` of those that belong together, `max(0, margin - (1 - cos))^2` of others.
    fn contrastive(&self, first: &Tensor, second: &Tensor, numbers: &[f64]) -> Tensor {
        let distances = distances(first, second);
        let beyond = (-&distances + self.margin).relu().square();
        let together = of_rows(numbers);
        &together * &distances.square() + (-&together + 1.0) * beyond
    }

    fn distances(&self, a: &Tensor, b: &Tensor) -> Tensor {
        match self.distance_metric {
            Distance::Cosine => distances(a, b),
            Distance::Manhattan => (a - b).abs().sum_axis(1),
            // Texts that are the same are at no distance, whose slope is that of none.
            Distance::Euclidean => (a - b).square().sum_axis(1).clamp(1e-24, f64::INFINITY).sqrt(),
        }
    }
}

/// The cosine of each row of both, `[rows]`.
fn cosines(a: &Tensor, b: &Tensor) -> Tensor {
    (unit_length(a) * unit_length(b)).sum_axis(1)
}

/// `1 - cos` of each row of both, `[rows]`.
fn distances(a: &Tensor, b: &Tensor) -> Tensor {
    -cosines(a, b) + 1.0
}

fn of_rows(numbers: &[f64]) -> Tensor {
    Tensor::from_slice(numbers, [numbers.len()]).to_dtype(DType::F64)
}

/// 1 for rows that are hard, 0 for others: rows that belong together and are further apart than the nearest one that does not,
/// and rows that do not and are nearer than the furthest that does. Without rows of the other kind, those beyond the mean.
fn hard(distances: &[f64], classes: &[f64]) -> Vec<f64> {
    let of = |class: f64| -> Vec<f64> {
        let rows = distances.iter().zip(classes).filter(|(_, of)| **of == class);
        rows.map(|(distance, _)| *distance).collect()
    };
    let (apart, together) = (of(0.0), of(1.0));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let nearest = apart.iter().copied().reduce(f64::min).unwrap_or_else(|| mean(&together));
    let furthest = together.iter().copied().reduce(f64::max).unwrap_or_else(|| mean(&apart));
    let rows = distances.iter().zip(classes);
    let is_hard = |(distance, class): (&f64, &f64)| {
        if *class == 1.0 { *distance > nearest } else { *distance < furthest }
    };
    rows.map(|row| f64::from(u8::from(is_hard(row)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_say_which_rows_they_need() {
        let of = |loss_type, format, columns| {
            let options = EmbeddingLossOptions { loss_type, ..EmbeddingLossOptions::default() };
            options.for_rows(format, columns, 8)
        };
        let chosen = of(None, TextGroupsFormat::PairScore, 2).unwrap();
        assert_eq!(chosen.loss_type, Some(EmbeddingLoss::Cosent));
        let (key, reason) =
            of(Some(EmbeddingLoss::Triplet), TextGroupsFormat::Pair, 2).unwrap_err();
        assert!(
            key == "loss_type" && reason.contains("one negative") && reason.contains("pair"),
            "{reason}"
        );
        assert!(of(Some(EmbeddingLoss::Contrastive), TextGroupsFormat::PairScore, 2).is_err());
    }

    #[test]
    fn hard_rows_are_those_on_the_wrong_side() {
        assert_eq!(hard(&[0.1, 0.6, 0.4, 0.9], &[1.0, 1.0, 0.0, 0.0]), [0.0, 1.0, 1.0, 0.0]);
        assert_eq!(hard(&[0.1, 0.3], &[1.0, 1.0]), [0.0, 1.0]);
    }

    #[test]
    fn texts_that_are_the_same_have_a_gradient() {
        let same = Tensor::from_slice(&[1.0_f64, 2.0], [1, 2]);
        let options = EmbeddingLossOptions::default();
        assert!(options.distances(&same, &same).item() <= 1e-12);
    }
}

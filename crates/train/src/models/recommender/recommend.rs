//! Items recommended to users: the best ones that they have not taken, as a file asks for them.

use std::path::Path;

use rappel_data::{AskedUser, read_users};
use rappel_model::{ItemVectors, Users};
use rappel_nn::Forward;
use rappel_tensor::{Tensor, concat, no_grad};

use super::rank::{best, for_users};
use super::{Catalogue, Predictions, RecommenderModel};
use crate::TrainError;

/// Scores `[users, items]` of vectors.
pub(super) fn scores(users: &Tensor, items: &ItemVectors) -> Tensor {
    let scores = users.matmul(&items.vectors.t());
    match &items.bias {
        Some(bias) => scores + bias,
        None => scores,
    }
}

/// Someone to recommend items to.
struct Asked {
    name: String,
    /// Its number, where training knew it.
    number: Option<u32>,
    /// What it took, the last item last.
    history: Vec<u32>,
}

/// The `top_k` best items of each user of a file. Where the file names items, too, these are what users took since training: they
/// are not told, and a model that reads histories reads them.
pub(super) fn predict(
    model: &RecommenderModel,
    file: &Path,
    top_k: usize,
) -> Result<Predictions, TrainError> {
    let Catalogue { users, items, histories, columns, .. } = &*model.catalogue;
    let mut unknown_items = 0;
    let asked: Vec<Asked> = read_users(columns, file)?
        .into_iter()
        .map(|AskedUser { name, items: since }| {
            let number = users.number(&name).map(|number| number as u32);
            let mut history =
                number.map_or_else(Vec::new, |number| histories.of(number as usize).to_vec());
            for item in since {
                match items.number(&item) {
                    Some(item) if history.contains(&(item as u32)) => {}
                    Some(item) => history.push(item as u32),
                    None => unknown_items += 1,
                }
            }
            Asked { name, number, history }
        })
        .collect();
    let reads = model.recommender.reads_histories();
    let cold =
        |asked: &Asked| if reads { asked.history.is_empty() } else { asked.number.is_none() };
    let popularity = model.popularity();
    let forward = Forward::evaluation();
    let vectors = no_grad(|| model.recommender.all_items(&forward));
    let of_block = |block: &[u32]| {
        let of: Vec<&Asked> = block.iter().map(|i| &asked[*i as usize]).collect();
        let ids: Vec<u32> = of.iter().map(|asked| asked.number.unwrap_or(0)).collect();
        let histories: Vec<&[u32]> = of.iter().map(|asked| &asked.history[..]).collect();
        let of = Users { ids: &ids, histories: &histories };
        scores(&model.recommender.users(&of, &forward), &vectors)
    };
    let places: Vec<u32> = (0..asked.len() as u32).collect();
    let lists = for_users(&places, items.len(), &of_block, |at, row| {
        if cold(&asked[at]) {
            row.copy_from_slice(&popularity);
        }
        for item in &asked[at].history {
            row[*item as usize] = f32::NEG_INFINITY;
        }
        best(row, top_k)
    });
    let row = |(asked, list): (&Asked, Vec<(u32, f32)>)| {
        let cells = |(place, (item, score)): (usize, (u32, f32))| {
            let item = items.name(item as usize).to_owned();
            vec![asked.name.clone(), (place + 1).to_string(), item, score.to_string()]
        };
        list.into_iter().enumerate().map(cells).collect::<Vec<_>>()
    };
    let rows = asked.iter().zip(lists).flat_map(row).collect();
    let mut notes = Vec::new();
    let count = asked.iter().filter(|asked| cold(asked)).count();
    if count > 0 {
        notes.push(format!("{count} users are not known: they get the items that were taken most"));
    }
    if unknown_items > 0 {
        notes.push(format!("{unknown_items} items of the file are not known"));
    }
    let columns = ["user", "rank", "item", "score"].map(str::to_owned).to_vec();
    Ok(Predictions { columns, rows, notes })
}

/// Numbers in a row before the scores `[n]` of each of some rows: a logit that is always 0.
pub(crate) fn beside_zero(scores: &Tensor) -> Tensor {
    let count = scores.count();
    let scores = scores.reshape([count, 1]);
    concat(&[&Tensor::zeros([count, 1], scores.dtype()), &scores], 1)
}

//! Samples of how users rated items, with all that is known of both.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rappel_config::Options;
use rappel_files::hex;
use rappel_tensor::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::columns::{ITEM, USER, plain};
use super::fields::{encode, of_columns, of_file};
use super::read::UNKNOWN;
use super::{
    ApartOptions, Field, FieldKind, Ids, InteractionOptions, Interactions, Known, OnDuplicate,
    Slots,
};
use crate::table::{Column, ReadAs, Table};
use crate::{DataError, Dataset, Drawing};

/// The section `data` of a config that learns ratings.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct RatingConfig {
    /// Where the interactions are.
    #[option(flatten, required)]
    pub interactions: InteractionOptions,
    /// predict whether a rating is at least this; unset: the rating itself
    #[option(aka("positive_threshold", "val_interval"))]
    pub threshold: Option<f64>,
    /// what is known of users: a column of them, and features
    #[option(aka("user_features"))]
    pub user_file: Option<PathBuf>,
    /// what is known of items: a column of them, and features
    #[option(aka("item_features"))]
    pub item_file: Option<PathBuf>,
    /// columns of `file` that are features, such as the hour
    #[option(default, aka("context"))]
    pub features: Vec<String>,
    /// columns of user_file and item_file that are not
    #[option(default, aka("unload_col", "drop", "ignore"))]
    pub exclude: Vec<String>,
    /// What is set apart.
    #[option(flatten)]
    pub apart: ApartOptions,
    /// How samples are drawn.
    #[option(flatten)]
    pub drawing: Drawing,
}

/// Everything known of interactions beside their ratings, and what ratings are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingFields {
    /// Users, items, what is said of users, of items, and of each interaction.
    pub fields: Vec<Field>,
    /// How many say something of users, of items, of each interaction.
    pub counts: [usize; 3],
    /// A rating of at least this is liked; none where the rating itself is told.
    pub threshold: Option<f64>,
    /// The least and the largest rating of the training data.
    pub range: [f64; 2],
    /// What is said of each user and of each item.
    #[serde(skip)]
    pub of: [Slots; 2],
}

/// How users rated items.
#[derive(Debug, Clone)]
pub struct RatedRows {
    fields: Arc<RatingFields>,
    users: Vec<u32>,
    items: Vec<u32>,
    context: Slots,
    targets: Vec<f64>,
    details: Vec<String>,
}

/// Interactions that a forward pass reads.
#[derive(Debug, Clone)]
pub struct RatedBatch {
    /// Rows of the table of all fields, i64 `[n, slots]`.
    pub ids: Tensor,
    /// Their weights, `[n, slots]`, in single precision.
    pub weights: Tensor,
    /// The ratings, or 1 for what is liked and 0 for what is not.
    pub targets: Vec<f64>,
}

impl RatingFields {
    /// Reads the interactions of a config, and the fields of all that it names.
    ///
    /// # Errors
    /// As [`Interactions::read`]; a column that is missing; no ratings.
    pub fn read(config: &RatingConfig) -> Result<(Self, RatedFile), DataError> {
        let options = &config.interactions;
        let columns = context_columns(&config.features);
        let (read, table) = Interactions::read_with(options, &options.file, None, None, &columns)?;
        let ratings = ratings(&read)?;
        let named = |name: &str, ids: &Ids, first: usize| Field {
            name: name.to_owned(),
            of: FieldKind::Name { names: ids.clone() },
            first,
        };
        let (users, items) = (read.user_ids.len(), read.item_ids.len());
        let mut first = users + items;
        let mut fields =
            vec![named("user", &read.user_ids, 0), named("item", &read.item_ids, users)];
        let mut notes = read.notes.clone();
        let mut described = |file: &Option<PathBuf>, role, given: &Option<String>, ids: &Ids| {
            let Some(file) = file else { return Ok((Vec::new(), Slots::default())) };
            let of = (role, given.as_deref());
            let (fields, slots, note) = of_file(file, of, ids, &config.exclude, &mut first)?;
            notes.extend(note);
            Ok::<_, DataError>((fields, slots))
        };
        let (user_fields, of_users) =
            described(&config.user_file, USER, &options.user, &read.user_ids)?;
        let (item_fields, of_items) =
            described(&config.item_file, ITEM, &options.item, &read.item_ids)?;
        let features = features(&table, &config.features)?;
        let (context_fields, context) = of_columns(&table, &features, &mut first)?;
        let counts = [user_fields.len(), item_fields.len(), context_fields.len()];
        fields.extend(user_fields.into_iter().chain(item_fields).chain(context_fields));
        let ends = |range: [f64; 2], rating: &f64| [range[0].min(*rating), range[1].max(*rating)];
        let range = ratings.iter().fold([f64::INFINITY, f64::NEG_INFINITY], ends);
        let of = [of_users, of_items];
        let fields = Self { fields, counts, threshold: config.threshold, range, of };
        Ok((fields, RatedFile { read, context, names: Vec::new(), notes }))
    }

    /// Reads more interactions: of users and items that may not be known.
    ///
    /// # Errors
    /// As [`read`](Self::read); without ratings only where these are needed.
    pub fn read_more(
        &self,
        options: &InteractionOptions,
        file: &Path,
        needs_ratings: bool,
    ) -> Result<RatedFile, DataError> {
        let [user_fields, item_fields, context_fields] = self.counts;
        let of_context = &self.fields[2 + user_fields + item_fields..][..context_fields];
        let names: Vec<String> = of_context.iter().map(|field| field.name.clone()).collect();
        let (users, items) = (self.ids(0), self.ids(1));
        let known = Some(Known { users, items, keeps_others: true });
        let options = if needs_ratings {
            options.clone()
        } else {
            InteractionOptions { on_duplicate: OnDuplicate::Keep, rating: None, ..options.clone() }
        };
        let (read, table) =
            Interactions::read_with(&options, file, None, known, &context_columns(&names))?;
        if needs_ratings {
            ratings(&read)?;
        }
        let context = encode(&table, &features(&table, &names)?, of_context)?;
        let unknown = |of: &[u32]| of.iter().filter(|number| **number == UNKNOWN).count();
        let (of_users, of_items) = (unknown(&read.users), unknown(&read.items));
        let mut notes = read.notes.clone();
        if of_users + of_items > 0 {
            notes.push(format!(
                "{of_users} interactions are of users and {of_items} of items that training did not know: they are predicted \
                 by the rest"
            ));
        }
        let user = USER.require(&table, file, options.user.as_deref())?;
        let item = ITEM.require(&table, file, options.item.as_deref())?;
        let name = |row: &usize| {
            [user, item].map(|column| column.text(*row).unwrap_or_default().into_owned())
        };
        let names = read.rows.iter().map(name).collect();
        Ok(RatedFile { read, context, names, notes })
    }

    /// The names of users (0) or items (1).
    ///
    /// # Panics
    /// Where the first two fields are none of names, which [`check`](Self::check) refuses.
    pub fn ids(&self, field: usize) -> &Ids {
        match &self.fields[field].of {
            FieldKind::Name { names } => names,
            _ => panic!("field {field} names nobody"),
        }
    }

    /// How many rows all fields have.
    pub fn rows(&self) -> usize {
        self.fields.last().map_or(0, |last| last.first + last.rows())
    }

    /// What cannot be, of fields that came from a file.
    pub fn check(&self) -> Result<(), String> {
        let named = |at: usize| {
            self.fields.get(at).is_some_and(|field| matches!(field.of, FieldKind::Name { .. }))
        };
        if !named(0) || !named(1) {
            return Err("the first two fields do not name users and items".to_owned());
        }
        if self.counts.iter().sum::<usize>() + 2 != self.fields.len() {
            return Err(format!("{:?} do not count {} fields", self.counts, self.fields.len()));
        }
        let mut first = 0;
        for field in &self.fields {
            if field.first != first || field.slots() == 0 {
                return Err(format!("field `{}` does not begin at row {first}", field.name));
            }
            if let FieldKind::Number { mean, std } = field.of
                && !(mean.is_finite() && std.is_finite() && std > 0.0)
            {
                return Err(format!(
                    "field `{}`: its std is {std}; it must be above 0",
                    field.name
                ));
            }
            first += field.rows();
        }
        let widths = self.widths();
        let fit = |of: usize| {
            let (slots, count) = (&self.of[of], self.ids(of).len());
            let sizes = slots.slots == widths[of] && slots.ids.len() == count * slots.slots;
            sizes
                && slots.weights.len() == slots.ids.len()
                && slots.ids.iter().all(|id| (*id as usize) < first)
        };
        if fit(0) && fit(1) {
            Ok(())
        } else {
            Err("what is said of users or items does not fit".to_owned())
        }
    }

    /// Slots of what is said of users and of items.
    fn widths(&self) -> [usize; 2] {
        let [users, items, _] = self.counts;
        let sum = |of: &[Field]| of.iter().map(Field::slots).sum();
        [sum(&self.fields[2..2 + users]), sum(&self.fields[2 + users..2 + users + items])]
    }
}

/// Interactions of a file, with what it says of each.
#[derive(Debug, Clone)]
pub struct RatedFile {
    /// The interactions.
    pub read: Interactions,
    context: Slots,
    /// The user and the item of each, as the file names them; nothing of the file of a config.
    pub names: Vec<[String; 2]>,
    /// What was left out, in words.
    pub notes: Vec<String>,
}

impl RatedRows {
    /// Some interactions of a file, by their places.
    pub fn new(fields: &Arc<RatingFields>, file: &RatedFile, places: &[usize]) -> Self {
        let read = &file.read;
        let of = |numbers: &[u32]| places.iter().map(|at| numbers[*at]).collect();
        let mut context = Slots { slots: file.context.slots, ..Slots::default() };
        for at in places {
            let (ids, weights): (Vec<u32>, Vec<f32>) = file.context.of(read.rows[*at]).unzip();
            context.ids.extend(ids);
            context.weights.extend(weights);
        }
        let target = |at: &usize| {
            let rating = read.ratings.as_ref().map_or(0.0, |ratings| ratings[*at]);
            fields.threshold.map_or(rating, |least| f64::from(u8::from(rating >= least)))
        };
        Self {
            fields: fields.clone(),
            users: of(&read.users),
            items: of(&read.items),
            context,
            targets: places.iter().map(target).collect(),
            details: Vec::new(),
        }
    }

    /// The same with more to say of it.
    #[must_use]
    pub fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// The ratings, or what is liked.
    pub fn targets(&self) -> &[f64] {
        &self.targets
    }

    /// The users; [`UNKNOWN`] for some.
    pub fn users(&self) -> &[u32] {
        &self.users
    }

    fn push(&self, at: usize, ids: &mut Vec<i64>, weights: &mut Vec<f32>) {
        let (user, item) = (self.users[at], self.items[at]);
        let first_item = self.fields.fields[1].first;
        for (number, first) in [(user, 0), (item, first_item)] {
            let known = number != UNKNOWN;
            ids.push(if known { i64::from(number) + first as i64 } else { 0 });
            weights.push(f32::from(u8::from(known)));
        }
        let [of_users, of_items] = &self.fields.of;
        let slots = of_users.of(user as usize).chain(of_items.of(item as usize));
        for (id, weight) in slots.chain(self.context.of(at)) {
            ids.push(i64::from(id));
            weights.push(weight);
        }
    }
}

impl Dataset for RatedRows {
    type Batch = RatedBatch;

    fn len(&self) -> usize {
        self.targets.len()
    }

    fn batch(&self, samples: &[usize]) -> RatedBatch {
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for at in samples {
            self.push(*at, &mut ids, &mut weights);
        }
        let slots = ids.len() / samples.len().max(1);
        RatedBatch {
            ids: Tensor::from_slice(&ids, [samples.len(), slots]),
            weights: Tensor::from_slice(&weights, [samples.len(), slots]),
            targets: samples.iter().map(|at| self.targets[*at]).collect(),
        }
    }

    fn unit(&self) -> &'static str {
        "ratings"
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for at in 0..self.len() {
            ids.clear();
            weights.clear();
            self.push(at, &mut ids, &mut weights);
            for (id, weight) in ids.iter().zip(&weights) {
                hash.update(id.to_le_bytes());
                hash.update(weight.to_le_bytes());
            }
            hash.update(self.targets[at].to_le_bytes());
        }
        hex(&hash.finalize())
    }

    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}

fn ratings(read: &Interactions) -> Result<&[f64], DataError> {
    read.ratings.as_deref().ok_or_else(|| {
        let reason = "has no column of ratings: none is called rating, stars or score; name it in data.rating";
        DataError::table(&read.path, reason)
    })
}

fn context_columns(names: &[String]) -> HashMap<String, ReadAs> {
    let types = ["", ":token", ":token_seq", ":float"];
    let all = names.iter().flat_map(|name| types.map(|of| (format!("{name}{of}"), ReadAs::Either)));
    all.collect()
}

fn features<'t>(table: &'t Table, names: &[String]) -> Result<Vec<&'t Column>, DataError> {
    let of = |wanted: &String| {
        let names = table.names();
        let found = names.iter().find(|name| *name == wanted || plain(name) == wanted);
        table.column(found.unwrap_or(&wanted.as_str()))
    };
    names.iter().map(of).collect()
}

//! Interactions of users with items: from files to samples of who took what.

mod columns;
mod fields;
mod histories;
mod ids;
mod rating;
mod read;
mod recommendation;
mod sampling;
mod section;
mod split;
mod users;

pub use fields::{Field, FieldKind, Slots};
pub use histories::Histories;
pub use ids::Ids;
pub use rating::{RatedBatch, RatedFile, RatedRows, RatingConfig, RatingFields};
pub use read::{Interactions, Known, UNKNOWN};
pub use recommendation::{RecommendationBatch, RecommendationData};
pub use sampling::{Distribution, NegativeSampler};
pub use section::{ApartOptions, InteractionOptions, OnDuplicate, RecommendationConfig};
pub use split::{Parts, Split};
pub use users::{AskedUser, read_users};

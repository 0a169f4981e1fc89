//! The messages of two of TensorBoard's plugins: the options of a run for its HPARAMS tab, and the layout of its
//! custom scalars.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use crate::HParam;
use crate::summary::{TensorProto, Value};

#[derive(Clone, PartialEq, Message)]
struct HParamsData {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(oneof = "Info", tags = "3, 4")]
    info: Option<Info>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Info {
    #[prost(message, tag = "3")]
    Start(SessionStart),
    #[prost(message, tag = "4")]
    End(SessionEnd),
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, AnyValue>,
    #[prost(double, tag = "5")]
    start_time_secs: f64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionEnd {
    #[prost(enumeration = "Status", tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time_secs: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Status {
    Unknown = 0,
    Success = 1,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Kind", tags = "2, 3, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
}

#[derive(Clone, PartialEq, Message)]
struct Layout {
    #[prost(message, repeated, tag = "2")]
    category: Vec<Category>,
}

#[derive(Clone, PartialEq, Message)]
struct Category {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, repeated, tag = "2")]
    chart: Vec<Chart>,
}

#[derive(Clone, PartialEq, Message)]
struct Chart {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(message, optional, tag = "2")]
    lines: Option<Lines>,
}

#[derive(Clone, PartialEq, Message)]
struct Lines {
    /// Regular expressions of tags.
    #[prost(string, repeated, tag = "1")]
    tag: Vec<String>,
}

/// The options of a run that starts. TensorBoard's table has a column for each option of any run, and for
/// each scalar, because no run says what all of them measure.
pub(crate) fn session_start(hparams: &[(String, HParam)], wall_time: f64) -> Value {
    let value = |value: &HParam| match value {
        HParam::Number(number) => Kind::Number(*number),
        HParam::Text(text) => Kind::Text(text.clone()),
        HParam::Bool(is) => Kind::Bool(*is),
    };
    let one = |(name, of): &(String, HParam)| (name.clone(), AnyValue { kind: Some(value(of)) });
    let hparams = hparams.iter().map(one).collect();
    hparams_value(
        "_hparams_/session_start_info",
        Info::Start(SessionStart { hparams, start_time_secs: wall_time }),
    )
}

/// The end of a run that succeeded.
pub(crate) fn session_end(wall_time: f64) -> Value {
    let status = Status::Success.into();
    let end = SessionEnd { status, end_time_secs: wall_time };
    hparams_value("_hparams_/session_end_info", Info::End(end))
}

fn hparams_value(tag: &str, info: Info) -> Value {
    let data = HParamsData { version: 0, info: Some(info) };
    // The plugin reads the metadata alone; a value must be there.
    let nothing = TensorProto::floats(&[0], Vec::new());
    Value::of_plugin(tag, "hparams", data.encode_to_vec(), nothing)
}

/// Charts, each with its title and the tags of its lines.
type Charts = Vec<(String, Vec<String>)>;

/// The layout of the custom scalars: categories of charts, each a title and the tags of its lines.
pub(crate) fn layout(categories: &[(&str, Charts)]) -> Value {
    let chart = |(title, tags): &(String, Vec<String>)| Chart {
        title: title.clone(),
        lines: Some(Lines { tag: tags.clone() }),
    };
    let category = |(title, charts): &(&str, Charts)| Category {
        title: (*title).to_owned(),
        chart: charts.iter().map(chart).collect(),
    };
    let layout = Layout { category: categories.iter().map(category).collect() };
    let layout = TensorProto::strings(&[], vec![layout.encode_to_vec()]);
    Value::of_plugin("custom_scalars__config__", "custom_scalars", Vec::new(), layout)
}

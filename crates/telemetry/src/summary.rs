//! The messages of TensorFlow's `summary.proto`, `histogram.proto` and `tensor.proto` that we write.

use prost::{Message, Oneof};

use crate::{Histogram, PrCurve};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(oneof = "Content", tags = "2, 4, 5, 8")]
    pub content: Option<Content>,
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Content {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "5")]
    Histogram(HistogramProto),
    #[prost(message, tag = "8")]
    Tensor(TensorProto),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// The number of channels: 3 for red, green and blue.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HistogramProto {
    #[prost(double, tag = "1")]
    pub min: f64,
    #[prost(double, tag = "2")]
    pub max: f64,
    #[prost(double, tag = "3")]
    pub num: f64,
    #[prost(double, tag = "4")]
    pub sum: f64,
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(enumeration = "DataType", tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    #[prost(float, repeated, tag = "5")]
    pub floats: Vec<f32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub strings: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum DataType {
    Invalid = 0,
    Float = 1,
    String = 7,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dim {
    #[prost(int64, tag = "1")]
    pub size: i64,
}

/// Which of TensorBoard's plugins shows a value, and what it must know.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(message, optional, tag = "1")]
    pub plugin: Option<Plugin>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Plugin {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PrCurveData {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(uint32, tag = "2")]
    thresholds: u32,
}

impl Value {
    pub fn scalar(tag: impl Into<String>, value: f64) -> Self {
        Self::plain(tag, Content::Scalar(value as f32))
    }

    pub fn image(tag: &str, [width, height]: [usize; 2], png: &[u8]) -> Self {
        let (width, height) = (width as i32, height as i32);
        let image = Image { height, width, colorspace: 3, encoded: png.to_vec() };
        Self::plain(tag, Content::Image(image))
    }

    pub fn histogram(tag: &str, histogram: &Histogram) -> Self {
        let (bucket_limit, counts) = histogram.buckets();
        let histogram = HistogramProto {
            min: histogram.min(),
            max: histogram.max(),
            num: histogram.count() as f64,
            sum: histogram.sum(),
            sum_squares: histogram.sum_of_squares(),
            bucket_limit,
            bucket: counts.into_iter().map(|count| count as f64).collect(),
        };
        Self::plain(tag, Content::Histogram(histogram))
    }

    pub fn text(tag: &str, markdown: &str) -> Self {
        let text = TensorProto::strings(&[1], vec![markdown.as_bytes().to_vec()]);
        Self::of_plugin(format!("{tag}/text_summary"), "text", Vec::new(), text)
    }

    pub fn pr_curve(tag: &str, curve: &PrCurve) -> Self {
        let rows = curve.rows();
        let thresholds = rows[0].len();
        let data = PrCurveData { version: 0, thresholds: thresholds as u32 };
        let floats = rows.concat().into_iter().map(|value| value as f32).collect();
        let rows = TensorProto::floats(&[rows.len(), thresholds], floats);
        Self::of_plugin(tag, "pr_curves", data.encode_to_vec(), rows)
    }

    fn plain(tag: impl Into<String>, content: Content) -> Self {
        Self { tag: tag.into(), content: Some(content), metadata: None }
    }

    pub fn of_plugin(
        tag: impl Into<String>,
        name: &str,
        content: Vec<u8>,
        tensor: TensorProto,
    ) -> Self {
        let plugin = Some(Plugin { name: name.to_owned(), content });
        let metadata = Some(Metadata { plugin });
        Self { tag: tag.into(), content: Some(Content::Tensor(tensor)), metadata }
    }
}

impl TensorProto {
    pub fn floats(shape: &[usize], floats: Vec<f32>) -> Self {
        Self { floats, ..Self::new(DataType::Float, shape) }
    }

    pub fn strings(shape: &[usize], strings: Vec<Vec<u8>>) -> Self {
        Self { strings, ..Self::new(DataType::String, shape) }
    }

    fn new(dtype: DataType, shape: &[usize]) -> Self {
        let dim = shape.iter().map(|size| Dim { size: *size as i64 }).collect();
        Self { dtype: dtype.into(), shape: Some(Shape { dim }), ..Self::default() }
    }
}

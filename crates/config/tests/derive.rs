//! One declaration of a struct: its defaults, what a config may give it, TOML and JSON in and out.

use std::path::PathBuf;
use std::time::Duration;

use rappel_config::{
    Checked, ConfigError, InvalidOption, Kind, OptionAs, OptionSet, OptionValue, Options, Place,
    Range, Words, describe, map_paths,
};
use serde_json::{Map, Value as Json, json};
use toml::Table;

/// A word of an option.
#[derive(Debug, Clone, Copy, PartialEq, Words)]
enum Shape {
    Cosine,
    Linear,
    #[word("1-sqrt")]
    OneMinusSqrt,
}

/// How positions are scaled.
#[derive(Debug, Clone, PartialEq, Options)]
struct RopeScaling {
    /// which way
    #[option(also = "type")]
    rope_type: String,
    /// by how much
    #[option(default = 1.0, range = 1.0..)]
    factor: f64,
}

/// How a type is read and written that knows of no options.
struct Seconds;

impl OptionAs<Duration> for Seconds {
    const KIND: Kind = u64::KIND;

    fn read(value: &Checked, place: &Place<'_>) -> Result<Duration, ConfigError> {
        u64::read(value, place).map(Duration::from_secs)
    }

    fn write(pause: &Duration) -> Option<toml::Value> {
        pause.as_secs().write()
    }
}

/// Options that two sets share.
#[derive(Debug, Clone, PartialEq, Options)]
struct Common {
    /// where weights are
    #[option(default = "weights", changeable)]
    file: PathBuf,
}

/// A model.
///
/// Two lines about it.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
struct Model {
    /// number of
    /// blocks
    #[option(default = 12, range = 1..=1_000, aka("layers", "depth"))]
    n_layer: usize,
    /// width inside; unset: 4 times the outer
    #[option(range = 1..)]
    n_inner: Option<u64>,
    /// dropout
    #[option(default = 0.1, range = 0.0..1.0)]
    dropout: f64,
    /// dropout of attention; unset: dropout
    #[option(unset = dropout, range = 0.0..1.0)]
    attn_dropout: f64,
    /// seconds between logs
    #[option(default = Duration::from_secs(2), with = Seconds)]
    pause: Duration,
    /// added to variances
    #[option(default = 1e-5, range = Range::above(0.0))]
    eps: f64,
    /// decay rates
    #[option(default = [0.9, 0.999], range = 0.0..1.0)]
    betas: [f64; 2],
    /// any word
    #[option(name = "type", default = "gelu \"new\"")]
    kind: String,
    /// shape of the ramp
    #[option(default = Shape::OneMinusSqrt)]
    shape: Shape,
    /// columns
    #[option(default)]
    names: Vec<String>,
    /// sizes
    #[option(default = [64, 32], range = 1..)]
    sizes: Vec<usize>,
    /// positions
    rope_scaling: Option<RopeScaling>,
    #[option(flatten)]
    common: Common,
    /// more sets
    #[option(default)]
    parts: Vec<Common>,
    /// whatever
    extra: Option<toml::Value>,
}

impl Model {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.n_layer.is_multiple_of(2) {
            return Ok(());
        }
        Err(InvalidOption::new("n_layer", format!("{} is odd", self.n_layer)))
    }
}

fn table(text: &str) -> Table {
    toml::from_str(text).expect("valid TOML")
}

fn object(json: &Json) -> Map<String, Json> {
    json.as_object().cloned().expect("an object")
}

#[test]
fn defaults_are_the_values_declared_and_what_an_empty_table_gives() {
    let model = Model::default();
    assert_eq!((model.n_layer, model.n_inner, model.eps), (12, None, 1e-5));
    assert_eq!((model.kind.as_str(), model.sizes.as_slice()), ("gelu \"new\"", &[64, 32][..]));
    assert_eq!(model.common.file, PathBuf::from("weights"));
    assert_eq!(Model::from_toml("", &Table::new()).unwrap(), model);
    assert_eq!(Model::ABOUT, " A model.\n\n Two lines about it.\n");
}

#[test]
fn toml_out_is_in_the_order_declared_and_comes_back_as_the_same() {
    let text = "n_layer = 12\ndropout = 0.1\nattn_dropout = 0.1\npause = 2\neps = 1e-5\nbetas = [0.9, 0.999]\ntype = 'gelu \"new\"'\n\
        shape = '1-sqrt'\nnames = []\nsizes = [64, 32]\nfile = 'weights'\nparts = []\n";
    let written = Model::default().to_toml();
    assert_eq!(written, table(text));
    assert!(written.keys().zip(table(text).keys()).all(|(own, expected)| own == expected));

    let text = "n_layer = 2\nn_inner = 9\ndropout = 0.5\npause = 3\nbetas = [0, 0.5]\nshape = 'linear'\nnames = 'a'\n\
        rope_scaling = { type = 'yarn', factor = 4 }\nparts = [{}, { file = 'b' }]\nextra = [1, {}]";
    let model = Model::from_toml("model", &table(text)).unwrap();
    assert_eq!((model.n_inner, model.betas, model.shape), (Some(9), [0.0, 0.5], Shape::Linear));
    assert_eq!((model.attn_dropout, model.pause.as_secs()), (0.5, 3));
    let scaling = RopeScaling { rope_type: "yarn".to_owned(), factor: 4.0 };
    assert_eq!(model.rope_scaling, Some(scaling));
    assert_eq!(model.parts[1].file, PathBuf::from("b"));
    assert_eq!(Model::from_toml("", &model.to_toml()).unwrap(), model);
}

#[test]
fn json_holds_nested_tables_and_null_for_what_is_unset() {
    let json = json!({
        "n_layer": 4, "n_inner": null, "eps": 1, "architectures": ["X"], "shape": "cosine",
        "rope_scaling": {"rope_type": "linear", "factor": 2, "beta_fast": 32.5},
    });
    let (model, unknown) = Model::from_json("", &object(&json)).unwrap();
    assert_eq!(unknown, ["architectures", "rope_scaling.beta_fast"]);
    assert_eq!((model.n_layer, model.n_inner, model.eps), (4, None, 1.0));
    let written = model.to_json();
    assert_eq!(written["rope_scaling"], json!({"rope_type": "linear", "factor": 2.0}));
    assert_eq!((&written["n_inner"], &written["shape"]), (&Json::Null, &json!("cosine")));
    assert_eq!(Model::from_json("", &written).unwrap(), (model, Vec::new()));

    let told = |json: Json| Model::from_json("", &object(&json)).unwrap_err().to_string();
    assert_eq!(
        told(json!({"rope_scaling": {"factor": 2}})),
        "config key `rope_scaling.rope_type`: missing; give string (which way)"
    );
    assert_eq!(
        told(json!({"n_layer": 9_223_372_036_854_775_808_u64})),
        "config key `n_layer`: expected integer in [1, 1000], got the string \"9223372036854775808\""
    );
}

#[test]
fn errors_name_the_path_the_range_and_the_nearest_key() {
    let told = |text: &str| match Model::from_toml("model", &table(text)) {
        Err(error) => error.to_string(),
        Ok(model) => panic!("{model:?}"),
    };
    for (text, expected) in [
        ("n_layer = 0", "`model.n_layer`: 0 is out of range; expected integer in [1, 1000]"),
        ("n_layer = 3", "`model.n_layer`: 3 is odd"),
        ("n_inner = 0", "`model.n_inner`: 0 is out of range; expected integer >= 1"),
        ("eps = 0", "`model.eps`: 0 is out of range; expected float in (0, inf)"),
        ("betas = [0.5, 1]", "`model.betas[1]`: 1 is out of range; expected float in [0, 1)"),
        ("sizes = [0]", "`model.sizes[0]`: 0 is out of range; expected integer >= 1"),
        (
            "shape = 'sine'",
            "`model.shape`: \"sine\" is out of range; expected \"cosine\" | \"linear\" | \"1-sqrt\"",
        ),
        (
            "parts = [{ fil = 'a' }]",
            "`model.parts[0].fil`: unknown; did you mean `file`? (known: file)",
        ),
    ] {
        assert_eq!(told(text), format!("config key {expected}"));
    }
    let told = told("depth = 2");
    assert!(
        told.starts_with("config key `model.depth`: unknown; did you mean `n_layer`?"),
        "{told}"
    );
}

#[test]
fn sets_made_in_code_are_checked_by_the_same_ranges() {
    let with = |change: &dyn Fn(&mut Model)| {
        let mut model = Model::default();
        change(&mut model);
        model.check_ranges().map_err(|error| error.to_string())
    };
    assert_eq!(with(&|_| ()), Ok(()));
    let told = |option: &str, reason: &str| Err(format!("option `{option}`: {reason}"));
    assert_eq!(
        with(&|model| model.n_layer = 0),
        told("n_layer", "0 is out of range; expected integer in [1, 1000]")
    );
    assert_eq!(
        with(&|model| model.betas[1] = 1.0),
        told("betas", "1 is out of range; expected [0, 1)")
    );
    assert_eq!(
        with(&|model| model.n_inner = Some(0)),
        told("n_inner", "0 is out of range; expected integer >= 1")
    );
}

#[test]
fn help_shows_what_the_declaration_says() {
    let help = describe(Model::FIELDS);
    let line = |key: &str| {
        let line = help.lines().find(|line| line.starts_with(key)).expect("a line of help");
        line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>()
    };
    let n_layer = ["n_layer", "integer in [1, 1000]", "default 12", "number of blocks"];
    assert_eq!(line("n_layer"), n_layer);
    assert_eq!(line("n_inner")[2], "optional");
    assert_eq!(line("attn_dropout")[2], "optional");
    assert_eq!(line("pause")[2], "default 2");
    assert_eq!(line("eps")[2], "default 1e-5");
    assert_eq!(line("betas")[2], "default [0.9, 0.999]");
    assert_eq!(line("shape")[2], "default \"1-sqrt\"");
    assert_eq!(line("rope_scaling.rope_type")[2..], ["required", "which way; also `type`"]);
    assert_eq!(line("parts[].file")[2], "default \"weights\"");
}

#[test]
fn paths_are_resolved_in_nested_tables_and_lists() {
    let mut given = table("file = 'a'\ntype = 'b'\nparts = [{ file = 'c' }]");
    map_paths(Model::FIELDS, &mut given, &|path| Ok::<_, ConfigError>(format!("/{path}"))).unwrap();
    assert_eq!(given, table("file = '/a'\ntype = 'b'\nparts = [{ file = '/c' }]"));
}

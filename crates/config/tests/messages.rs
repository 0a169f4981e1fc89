//! Every way a config can be wrong, with the text its user reads.

use rappel_config::{
    Checked, ConfigError, Entry, Field, Kind, OptionSet, Options, Range, Registry, Words, no_more,
    resolve,
};
use toml::Value;

type Build = fn(&Options) -> Result<u64, ConfigError>;

#[derive(Options)]
struct Warmup {
    /// steps of the ramp
    #[option(default = 10)]
    warmup_steps: u64,
}

const WARMUP: Entry<Build> = Entry {
    name: "warmup",
    summary: "a ramp",
    reference: "none",
    fields: Warmup::FIELDS,
    build: |options| Ok(Warmup::from_options(options)?.warmup_steps),
};
const FLAT: Entry<Build> = Entry {
    name: "flat",
    summary: "a line",
    reference: "none",
    fields: &[],
    build: |options| Err(options.invalid("name", "flat cannot be built")),
};
static SHAPES: Registry<Build> =
    Registry { kind: "shape", common: &[], entries: &[WARMUP, FLAT], more: no_more };

#[derive(Debug, Clone, Copy, PartialEq, Words)]
enum DType {
    F32,
    Bf16,
}

#[derive(Options)]
struct Data {
    /// paths of the texts
    #[option(default)]
    files: Vec<String>,
    /// of the weights
    #[option(default = DType::F32)]
    dtype: DType,
}

#[derive(Options)]
struct Given {
    /// learning rate
    #[option(range = Range::above(0.0), aka("step_size"))]
    lr: f64,
    /// decay of the moments
    #[option(default = [0.9, 0.999], range = 0.0..1.0)]
    betas: [f64; 2],
    /// look ahead
    #[option(default = false)]
    nesterov: bool,
    /// length of the run
    #[option(range = 1..=9)]
    steps: Option<u64>,
    /// shrinkage
    #[option(default = 0.0, kind = Kind::Scheduled { range: Range::from(0.0), by: &SHAPES })]
    weight_decay: Value,
    /// the shape
    #[option(kind = Kind::Section(&SHAPES))]
    shape: Option<Options>,
    /// the data
    data: Option<Data>,
    /// the groups
    groups: Option<Vec<Data>>,
    /// whatever
    extra: Option<Value>,
}

#[track_caller]
fn message(given: &str) -> String {
    let table = toml::from_str(given).expect("valid TOML");
    resolve("optimizer", Given::FIELDS, &table).expect_err("a wrong config").to_string()
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let known = "lr, betas, nesterov, steps, weight_decay, shape, data, groups, extra";
    for (given, nearest) in [
        ("lr = 1\nlerning_rate = 1", "; did you mean `lr`?"),
        ("lr = 1\nstepsize = 1", "; did you mean `lr`?"),
        ("lr = 1\nWeight-Decay = 1", "; did you mean `weight_decay`?"),
        ("lr = 1\nqqqq = 1", ""),
    ] {
        let key = given.split('\n').nth(1).unwrap().split(' ').next().unwrap();
        assert_eq!(
            message(given),
            format!("config key `optimizer.{key}`: unknown{nearest} (known: {known})")
        );
    }
}

#[test]
fn nested_tables_name_the_whole_path() {
    for (given, expected) in [
        (
            "lr = 1\ndata.file = []",
            "config key `optimizer.data.file`: unknown; did you mean `files`? (known: files, dtype)",
        ),
        (
            "lr = 1\n[[groups]]\n[[groups]]\ndtype = 'f31'",
            "config key `optimizer.groups[1].dtype`: \"f31\" is out of range; expected \"f32\" | \"bf16\"",
        ),
        (
            "lr = 1\nweight_decay = { name = 'warmup', warmup_steps = -1 }",
            "config key `optimizer.weight_decay.warmup_steps`: -1 is out of range; expected integer >= 0",
        ),
        (
            "lr = 1\nshape.name = 'warmpu'",
            "config key `optimizer.shape.name`: no shape is named `warmpu`; did you mean `warmup`? (known: warmup, flat)",
        ),
        (
            "lr = 1\nshape = {}",
            "config key `optimizer.shape.name`: missing; give one of the shapes by name (known: warmup, flat)",
        ),
        (
            "lr = 1\nshape.name = 3",
            "config key `optimizer.shape.name`: expected one of the shapes by name, got the integer 3",
        ),
    ] {
        assert_eq!(message(given), expected);
    }
}

#[test]
fn wrong_types_say_what_is_wanted_and_what_came() {
    for (given, expected) in [
        ("lr = '1'", "`optimizer.lr`: expected float in (0, inf), got the string \"1\""),
        ("lr = 1\nnesterov = 1", "`optimizer.nesterov`: expected true or false, got the integer 1"),
        ("lr = 1\nsteps = 2.0", "`optimizer.steps`: expected integer in [1, 9], got the float 2.0"),
        (
            "lr = 1\nbetas = 0.9",
            "`optimizer.betas`: expected list of 2 floats in [0, 1), got the float 0.9",
        ),
        (
            "lr = 1\nbetas = [0.9, true]",
            "`optimizer.betas[1]`: expected float in [0, 1), got the boolean true",
        ),
        (
            "lr = 1\ndata.files = ['a', 1]",
            "`optimizer.data.files`: expected list of strings, got the list [\"a\", 1]",
        ),
        ("lr = 1\ndata = 1", "`optimizer.data`: expected table, got the integer 1"),
        ("lr = 1\ngroups = [1]", "`optimizer.groups[0]`: expected table, got the integer 1"),
        (
            "lr = 1\nweight_decay = []",
            "`optimizer.weight_decay`: expected float in [0, inf), or a shape table, got the list []",
        ),
        ("lr = {}", "`optimizer.lr`: expected float in (0, inf), got a table"),
    ] {
        assert_eq!(message(given), format!("config key {expected}"));
    }
}

#[test]
fn values_out_of_range_say_the_range() {
    for (given, expected) in [
        ("lr = 0", "`optimizer.lr`: 0 is out of range; expected float in (0, inf)"),
        ("lr = nan", "`optimizer.lr`: nan is out of range; expected float in (0, inf)"),
        ("lr = inf", "`optimizer.lr`: inf is out of range; expected float in (0, inf)"),
        ("lr = 1\nsteps = 10", "`optimizer.steps`: 10 is out of range; expected integer in [1, 9]"),
        (
            "lr = 1\nbetas = [0.9, 1.0]",
            "`optimizer.betas[1]`: 1.0 is out of range; expected float in [0, 1)",
        ),
        (
            "lr = 1\nbetas = [0.9]",
            "`optimizer.betas`: expected list of 2 floats in [0, 1), got a list of 1",
        ),
        ("", "`optimizer.lr`: missing; give float in (0, inf) (learning rate)"),
    ] {
        assert_eq!(message(given), format!("config key {expected}"));
    }
}

#[test]
fn building_errors_carry_the_path() {
    let given = toml::from_str("name = 'flat'").unwrap();
    let (entry, options) = SHAPES.resolve("schedule", &given).unwrap();
    let error = (entry.build)(&options).unwrap_err();
    assert_eq!(error.to_string(), "config key `schedule.name`: flat cannot be built");
}

#[test]
fn one_value_is_a_list_of_one() {
    let fields = [
        Field::required("files", Kind::Paths, "paths"),
        Field::required("names", Kind::Strings, "names"),
        Field::required("sizes", Kind::Ints { min: 1 }, "sizes"),
    ];
    let given = |text: &str| resolve("", &fields, &toml::from_str(text).unwrap());
    let one = given("files = 'a'\nnames = 'b'\nsizes = 3").unwrap();
    assert_eq!(one, given("files = ['a']\nnames = ['b']\nsizes = [3]").unwrap());
    assert_eq!(one.to_toml()["files"].as_array().map(Vec::len), Some(1));
    let told = given("files = 'a'\nnames = 'b'\nsizes = 0").unwrap_err().to_string();
    assert_eq!(told, "config key `sizes`: 0 is out of range; expected integer >= 1");
    let told = given("files = 1").unwrap_err().to_string();
    assert_eq!(told, "config key `files`: expected list of paths, got the integer 1");
}

#[test]
fn an_integer_literal_stands_for_a_float_and_nothing_else_is_coerced() {
    let given = toml::from_str("lr = 1\nbetas = [0, 0.5]\ngroups = [{ dtype = 'bf16' }]").unwrap();
    let Given { lr, betas, nesterov, steps, weight_decay, shape, data, groups, extra } =
        Given::from_toml("", &given).unwrap();
    assert_eq!((lr, betas, nesterov, steps), (1.0, [0.0, 0.5], false, None));
    assert_eq!((weight_decay, shape, extra), (Value::Float(0.0), None, None));
    assert!(data.is_none());
    let groups: Vec<_> = groups.into_iter().flatten().map(|one| (one.files, one.dtype)).collect();
    assert_eq!(groups, [(Vec::new(), DType::Bf16)]);
}

#[test]
#[should_panic(expected = "`lr` is declared as another kind than its field's")]
fn asking_for_another_kind_is_a_mistake_of_the_code() {
    let options = resolve("", Given::FIELDS, &toml::from_str("lr = 1").unwrap()).unwrap();
    let _ = options.get::<String>("lr");
}

#[test]
fn counts_are_numbers_words_or_curves() {
    let count = Kind::Count { min: 1, words: &["all"], by: &SHAPES };
    let fields: &[Field] = &[Field::required("batch_size", count, "samples")];
    let resolved = |given: &str| {
        let given = toml::from_str(&format!("batch_size = {given}")).unwrap();
        let options = resolve("train", fields, &given)?;
        options.value("batch_size", None, |value, _| Ok(value.clone()))
    };
    assert_eq!(resolved("8").unwrap(), Checked::Value(8.into()));
    assert_eq!(resolved("'all'").unwrap(), Checked::Value("all".into()));
    let Checked::Curve(table, range) = resolved("{ name = 'warmup' }").unwrap() else {
        panic!("a table is a curve");
    };
    assert_eq!((table.get("warmup_steps").unwrap(), range.contains(1.0)), (Some(10_u64), true));
    assert!(!range.contains(0.5));
    let wants = "integer >= 1, \"all\", or a shape table";
    for (given, expected) in [
        ("0", format!("0 is out of range; expected {wants}")),
        ("'some'", format!("\"some\" is out of range; expected {wants}")),
        ("1.5", format!("expected {wants}, got the float 1.5")),
    ] {
        let told = resolved(given).unwrap_err().to_string();
        assert_eq!(told, format!("config key `train.batch_size`: {expected}"));
    }
}

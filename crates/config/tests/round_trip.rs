//! Whatever a config gives, the checked options describe themselves completely.

use proptest::prelude::*;
use rappel_config::{
    ConfigError, Entry, Family, Field, Kind, OptionSet, Options, Range, Registry, Words, list,
    no_more, resolve,
};
use rappel_testkit::assert_sound;
use toml::{Table, Value};

type Build = fn(&Options) -> Result<(), ConfigError>;

const RATIO: Range = Range::from(0.0).below(1.0);
#[derive(Options)]
struct Ramp {
    /// its length
    #[option(default = 3)]
    steps: u64,
    /// its least value
    #[option(default = 0.0, range = RATIO)]
    floor: f64,
}
#[derive(Options)]
struct Factor {
    /// its factor
    #[option(default = 1.0)]
    value: f64,
}
const RAMP: Entry<Build> = Entry {
    name: "ramp",
    summary: "a ramp",
    reference: "none",
    fields: Ramp::FIELDS,
    build: |_| Ok(()),
};
static RAMPS: Registry<Build> =
    Registry { kind: "ramp", common: Factor::FIELDS, entries: &[RAMP], more: no_more };

#[derive(Options)]
struct Inner {
    /// some steps
    #[option(range = -2..=5)]
    steps: Option<i64>,
    /// a text
    #[option(default = "ramp")]
    name: String,
}
#[derive(Clone, Copy, Words)]
enum Shape {
    Ramp,
    Flat,
}
#[derive(Options)]
struct Given {
    /// a flag
    #[option(default = true)]
    flag: bool,
    /// an integer
    #[option(default = 5, range = 0..=100)]
    steps: u64,
    /// a float
    #[option(default = 0.5, range = RATIO)]
    floor: f64,
    /// any float
    #[option(default = f64::INFINITY, range = Range::FINITE.or_infinite())]
    wide: f64,
    /// a word
    #[option(default = Shape::Flat)]
    name: Shape,
    /// a pair
    #[option(default = [0.0, 0.9], range = RATIO)]
    betas: [f64; 2],
    /// texts
    files: Option<Vec<String>>,
    /// a curve
    #[option(default = 0.0, kind = Kind::Scheduled { range: RATIO, by: &RAMPS })]
    decay: Value,
    /// a section
    #[option(default_name = "ramp", kind = Kind::Section(&RAMPS))]
    ramp: Options,
    /// a table
    #[option(default)]
    inner: Inner,
    /// tables
    list: Option<Vec<Inner>>,
    /// anything
    raw: Option<Value>,
}
const FIELDS: &[Field] = Given::FIELDS;

fn word() -> impl Strategy<Value = String> {
    let known = FIELDS.iter().chain(RAMP.fields).chain(RAMPS.common).map(|field| field.name);
    let known: Vec<_> = known.collect();
    prop_oneof![30 => proptest::sample::select(known).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3_i64..8).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0.0..1.0).prop_map(Value::Float),
        any::<f64>().prop_filter("NaN is unlike itself", |x| !x.is_nan()).prop_map(Value::Float),
        word().prop_map(Value::String),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            table_of(inner).prop_map(Value::Table),
        ]
    })
}

fn table_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    proptest::collection::vec((word(), value), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

/// A table that passes often enough to be worth asking: few keys, some with a fitting value.
fn given() -> impl Strategy<Value = Table> {
    let fitting = |text: &str| toml::from_str::<Table>(text).expect("valid TOML");
    let fitting = vec![
        fitting("steps = 7\nfloor = 0\nwide = -inf"),
        fitting("betas = [0.25, 0]\nname = 'ramp'\nfiles = ['a', '']"),
        fitting("decay = { name = 'ramp', floor = 0.25 }\nramp = { name = 'ramp', value = -2 }"),
        fitting("inner.steps = -1\nlist = [{}, { steps = 1, name = 'x' }]\nraw = [1, { a = {} }]"),
    ];
    (proptest::sample::select(fitting), table_of(value())).prop_map(|(mut table, more)| {
        table.extend(more);
        table
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn resolved_options_resolve_to_themselves(given in given()) {
        let Ok(options) = resolve("run", FIELDS, &given) else { return Ok(()) };
        let table = options.to_toml();
        prop_assert_eq!(&resolve("run", FIELDS, &table).unwrap(), &options);
        let reread: Table = toml::from_str(&table.to_string()).unwrap();
        prop_assert_eq!(&resolve("run", FIELDS, &reread).unwrap(), &options);
        prop_assert!(given.keys().all(|key| table.contains_key(key)));
        let Given { floor, steps, betas, .. } = Given::from_options(&options).unwrap();
        prop_assert!(RATIO.contains(floor) && steps <= 100);
        prop_assert!(betas.iter().all(|beta| RATIO.contains(*beta)));
        for field in FIELDS.iter().filter(|field| !matches!(field.default, rappel_config::Default::Absent)) {
            prop_assert!(table.contains_key(field.name));
        }
    }
}

#[test]
fn the_defaults_alone_are_written_out_in_the_order_declared() {
    let options = resolve("run", FIELDS, &Table::new()).unwrap();
    assert_eq!(
        options.to_toml().to_string(),
        "flag = true\nsteps = 5\nfloor = 0.5\nwide = inf\nname = \"flat\"\nbetas = [0.0, 0.9]\n\
         decay = 0.0\n\n[ramp]\nname = \"ramp\"\nsteps = 3\nfloor = 0.0\nvalue = 1.0\n\n\
         [inner]\nname = \"ramp\"\n"
    );
}

#[test]
fn an_entry_describes_itself() {
    assert_sound(&RAMPS);
    assert_eq!(list(&RAMPS), "ramp  a ramp\n");
    assert_eq!(
        RAMPS.info("ramp").unwrap().to_string(),
        "ramp: a ramp\nreference: none\n  \
         steps  integer >= 0          default 3    its length\n  \
         floor  float in [0, 1)       default 0.0  its least value\n  \
         value  float in (-inf, inf)  default 1.0  its factor\n"
    );
}

#[test]
#[should_panic(expected = "its default does not pass")]
fn a_default_outside_its_range_is_found() {
    #[derive(Options)]
    struct Bad {
        /// its length
        #[option(default = -1, range = 0..)]
        steps: i64,
    }
    const BAD: Entry<Build> = Entry { fields: Bad::FIELDS, ..RAMP };
    static BADS: Registry<Build> =
        Registry { kind: "bad", common: &[], entries: &[BAD], more: no_more };
    assert_sound(&BADS);
}

#[test]
fn a_second_name_is_taken_and_written_as_the_first() {
    const FIELDS: &[Field] =
        &[Field::optional("warmup_steps", Kind::int_from(0), "ramp").also("num_warmup_steps")];
    let of = |text: &str| resolve("schedule", FIELDS, &toml::from_str(text).unwrap());
    let options = of("num_warmup_steps = 7").unwrap();
    assert_eq!(options.to_toml().to_string(), "warmup_steps = 7\n");
    assert_eq!(of("warmup_steps = 7").unwrap(), options);
    let told = |text| of(text).unwrap_err().to_string();
    assert_eq!(
        told("warmup_steps = 1\nnum_warmup_steps = 1"),
        "config key `schedule.num_warmup_steps`: that is `warmup_steps`, which is given too; give one"
    );
    assert!(
        told("num_warmup_steps = -1").starts_with("config key `schedule.num_warmup_steps`: -1")
    );
    assert!(rappel_config::describe(FIELDS).contains("ramp; also `num_warmup_steps`"));
}

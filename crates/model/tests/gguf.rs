//! GGUF files: every format's numbers as the `gguf` package reads and writes them; damaged files.

use std::fs;
use std::path::{Path, PathBuf};

use rappel_model::gguf::{GgufFile, MetaValue, Quantization};
use rappel_testkit::Random;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/gguf/quants.gguf")
}

fn numbers(file: &GgufFile, name: &str) -> Vec<f32> {
    let mut numbers = vec![f32::NAN; file.tensors()[name].shape.count()];
    file.read_into(name, &mut numbers);
    numbers
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_format_has_the_numbers_that_the_gguf_package_reads() {
    let file = GgufFile::open(golden()).unwrap();
    let mut seen = 0;
    for name in file.tensors().keys().filter(|name| !name.contains('.')) {
        let tensor = &file.tensors()[name];
        assert_eq!(tensor.quantization.name(), name);
        assert_eq!(tensor.shape.to_vec(), [3, 512]);
        let expected = numbers(&file, &format!("{name}.f32"));
        assert_eq!(bits(&numbers(&file, name)), bits(&expected), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn blocks_are_written_as_the_gguf_package_writes_them() {
    let file = GgufFile::open(golden()).unwrap();
    for name in ["F32", "F16", "BF16", "Q8_0", "Q4_0"] {
        let mut bytes = Vec::new();
        let kind = Quantization::from_name(name).unwrap();
        kind.encode(&numbers(&file, &format!("{name}.source")), &mut bytes);
        let mut again = vec![0.0; 3 * 512];
        kind.decode(&bytes, &mut again);
        assert_eq!(bits(&again), bits(&numbers(&file, &format!("{name}.f32"))), "{name}");
    }
}

/// Numbers that lie near the middle of two digits: what `gguf.quants.quantize` (0.19) makes of them shows in which
/// precision they are rounded.
#[test]
fn halves_are_rounded_as_the_gguf_package_rounds_them() {
    const BY_1024: [i16; 32] = [
        -19, -19, -28, 26, -10, 35, -10, -1, 8, -28, 8, -1, -37, -10, 26, 35, -19, -10, -10, -19,
        -1, -1, 80, -28, -1, -46, -10, -28, -55, 17, -10, 8,
    ];
    const BYTES: [u8; 18] =
        [0, 161, 170, 154, 155, 165, 137, 133, 9, 184, 135, 219, 151, 184, 236, 105, 149, 117];
    let mut bytes = Vec::new();
    let numbers = BY_1024.map(|number| f32::from(number) / 1024.0);
    Quantization::from_name("Q4_0").unwrap().encode(&numbers, &mut bytes);
    assert_eq!(bytes, BYTES);
}

#[test]
fn keys_of_every_type_are_read() {
    let file = GgufFile::open(golden()).unwrap();
    let metadata = file.metadata();
    let int = |key| metadata.int(&format!("int.{key}")).unwrap();
    assert_eq!(["u8", "i8", "u16", "i16"].map(int), [200, -100, 60_000, -30_000]);
    let wide = [4_000_000_000, -2_000_000_000, 1 << 40, -(1 << 40)];
    assert_eq!(["u32", "i32", "u64", "i64"].map(int), wide);
    assert_eq!(metadata.get("float.f32"), Some(&MetaValue::Float(0.25)));
    assert_eq!(metadata.get("float.f64"), Some(&MetaValue::Float(1e-300)));
    assert_eq!(metadata.bool("bool"), Some(true));
    assert_eq!(metadata.text("text"), Some("Grüße"));
    assert_eq!(metadata.texts("texts").unwrap(), ["a", "", "b c"]);
    assert_eq!(metadata.ints("ints"), Some([1, -2, 3].as_slice()));
    assert_eq!(metadata.get("floats"), Some(&MetaValue::Floats(vec![0.5, -1.5])));
}

fn refused(bytes: &[u8]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    let error = GgufFile::open(&path).err()?.to_string();
    Some(error.replace(&format!("{}: ", path.display()), ""))
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = fs::read(golden()).unwrap();
    let header = 1500;
    for len in (0..header).chain([whole.len() / 2, whole.len() - 33]) {
        let error = refused(&whole[..len]).expect("it is cut");
        assert!(!error.is_empty() && !error.contains("panic"), "{len}: {error}");
    }
    assert_eq!(refused(b"GGML....").unwrap(), "is not a GGUF file");
    let error = refused(b"GGUF\x00\x00\x00\x03").unwrap();
    assert!(error.starts_with("version 50331648 is not supported"), "{error}");
}

#[test]
fn sizes_that_cannot_be_are_refused_without_their_memory() {
    let whole = fs::read(golden()).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&changed).expect("it cannot be")
    };
    let huge = u64::MAX.to_le_bytes();
    assert!(with(8, &huge).contains("within its header"));
    assert!(with(16, &huge).contains("key") || with(16, &huge).contains("header"));
    let find = |text: &[u8]| whole.windows(text.len()).position(|w| w == text).unwrap();
    // The length of an array, after its key and two types.
    let error = with(find(b"texts") + 5 + 8, &huge);
    assert!(
        error.starts_with("key `texts`: says that it has 18446744073709551615 elements"),
        "{error}"
    );
    // A tensor's first size, after its name and the number of dimensions.
    let error = with(find(b"Q8_0.f32") + 8 + 4, &huge);
    assert_eq!(error, "the sizes of tensor `Q8_0.f32` overflow");
    let error = with(find(b"Q8_0.f32") + 8, &[9]);
    assert_eq!(error, "tensor `Q8_0.f32` has 9 dimensions");
    let error = with(find(b"Q8_0.f32") + 8 + 4 + 16, &[39]);
    assert!(
        error.starts_with("tensor `Q8_0.f32` is of type 39, which is not supported"),
        "{error}"
    );
}

#[test]
fn no_mutation_of_a_header_panics() {
    let whole = fs::read(golden()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let mut draw = Random::new(11);
    let mut errors = 0;
    for _ in 0..2000 {
        let mut changed = whole.clone();
        for _ in 0..=draw.below(4) {
            let at = draw.below(1500);
            changed[at] = draw.below(256) as u8;
        }
        fs::write(&path, changed).unwrap();
        match GgufFile::open(&path) {
            Err(_) => errors += 1,
            Ok(file) => {
                for name in file.tensors().keys() {
                    numbers(&file, name);
                }
            }
        }
    }
    assert!(errors > 500, "{errors} of 2000 mutations were seen");
}

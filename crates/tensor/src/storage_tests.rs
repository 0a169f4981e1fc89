use std::fs;

use half::bf16;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A file of these bytes, opened; the text of the error with the path taken out.
fn open(bytes: &[u8]) -> Result<TensorFile, String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.safetensors");
    fs::write(&path, bytes).unwrap();
    TensorFile::open(&path).map_err(|error| {
        assert!(!matches!(error, StorageError::Io { .. }), "{error}");
        error.to_string().replace(&path.display().to_string(), "FILE")
    })
}

/// A file with this header, which says its own length right, and `data` bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 1);
    bytes
}

fn tensor(dtype: &str, shape: &str, from: &str, to: &str) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

/// A small file as this crate writes it.
fn good() -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("good.safetensors");
    let tensors = [
        ("f64", Tensor::from_slice(&[1.5_f64, -2.5], [2])),
        ("f32", Tensor::from_slice(&[1.0_f32, f32::NAN, -0.0, 4.0, 5.0, 6.0], [2, 3])),
        ("bf16", Tensor::from_slice(&[bf16::from_f64(3.0)], ())),
        ("i64", Tensor::from_slice(&[i64::MIN, 7], [1, 2])),
        ("u8", Tensor::from_slice(&[1_u8, 0, 255], [3])),
        ("none", Tensor::zeros([0, 4], DType::F32)),
    ];
    let text = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(&path, tensors, &text).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn every_type_comes_back_bit_for_bit() {
    let file = open(&good()).unwrap();
    assert_eq!(file.names(), ["bf16", "f32", "f64", "i64", "none", "u8"]);
    assert_eq!((file.text("format"), file.text("other")), (Some("pt"), None));
    let get = |name: &str| file.tensor(name).unwrap();
    assert_eq!(get("f64").to_vec::<f64>(), [1.5, -2.5]);
    let bits: Vec<u32> = get("f32").to_vec::<f32>().into_iter().map(f32::to_bits).collect();
    assert_eq!(bits, [1.0, f32::NAN, -0.0, 4.0, 5.0, 6.0].map(f32::to_bits));
    assert_eq!(*get("f32").shape(), [2, 3]);
    assert_eq!(get("bf16").item(), 3.0);
    assert_eq!(get("i64").to_vec::<i64>(), [i64::MIN, 7]);
    assert_eq!(get("u8").to_vec::<u8>(), [1, 0, 255]);
    assert_eq!(*get("none").shape(), [0, 4]);
    let lacks = file.tensor("f16").unwrap_err().to_string();
    assert!(lacks.ends_with("x.safetensors: lacks tensor `f16`"), "{lacks}");
}

#[test]
fn views_are_written_in_their_own_order() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x");
    let x = Tensor::arange(6, DType::F32).reshape([2, 3]);
    write_tensors(&path, [("t", x.t()), ("row", x.narrow(0, 1, 1))], &BTreeMap::new()).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.tensor("t").unwrap().to_vec::<f32>(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(file.tensor("row").unwrap().to_vec::<f32>(), [3.0, 4.0, 5.0]);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let good = good();
    for len in 0..good.len() {
        let text = open(&good[..len]).err().unwrap_or_else(|| panic!("{len} bytes are accepted"));
        assert!(text.starts_with("FILE: not a complete safetensors file: "), "{text}");
    }
    let longer = [&good[..], &[0]].concat();
    let text = open(&longer).err().unwrap();
    assert!(text.starts_with("FILE: not a complete safetensors file: "), "{text}");
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    let whole = good();
    for length in [0, 1, 100_000_001, 1 << 40, (1 << 63) - 8, 1 << 63, u64::MAX - 7, u64::MAX] {
        let bytes = [&u64::to_le_bytes(length)[..], &whole[8..]].concat();
        let text = open(&bytes).err().unwrap_or_else(|| panic!("a header of {length} is accepted"));
        assert!(text.starts_with("FILE: not a complete safetensors file: "), "{text}");
    }
}

#[test]
fn headers_that_are_not_a_table_of_tensors_are_refused() {
    let headers = [
        "",
        "{",
        "[]",
        "null",
        "\u{0}\u{0}",
        r#"{"a":1}"#,
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#,
        r#"{"__metadata__":{"a":1}}"#,
    ];
    for header in headers {
        let text = open(&file(header, 4)).err().unwrap_or_else(|| panic!("accepted: {header}"));
        assert!(text.starts_with("FILE: not a complete safetensors file: "), "{text}");
    }
    let mut bytes = file("{  }", 0);
    bytes[9] = 0xff;
    assert!(open(&bytes).err().unwrap().contains("not a complete safetensors file"));
    let deep = "[".repeat(100_000);
    assert!(open(&file(&deep, 0)).err().unwrap().contains("not a complete safetensors file"));
}

#[test]
fn offsets_that_cannot_be_are_refused() {
    let max = u64::MAX.to_string();
    let pairs = [
        // Overlapping, a gap, the same bytes twice, backwards, beyond the end.
        (tensor("F32", "[2]", "0", "8"), tensor("F32", "[2]", "4", "12")),
        (tensor("F32", "[1]", "0", "4"), tensor("F32", "[1]", "8", "12")),
        (tensor("F32", "[3]", "0", "12"), tensor("F32", "[3]", "0", "12")),
        (tensor("F32", "[1]", "4", "0"), tensor("F32", "[3]", "0", "12")),
        (tensor("F32", "[1]", "0", "4"), tensor("F32", "[3]", "4", "16")),
        // Lengths that overflow, in one factor, in the product, in bytes.
        (tensor("F32", "[1]", "0", "4"), tensor("F32", &format!("[{max}]"), "4", "12")),
        (tensor("F32", "[1]", "0", "4"), tensor("F32", &format!("[{max},{max}]"), "4", "12")),
        (tensor("F32", "[1]", "0", "4"), tensor("F64", "[2305843009213693953]", "4", "12")),
        (tensor("F32", "[1]", "0", "4"), tensor("F32", "[2]", "4", &max)),
        (tensor("F32", "[1]", "0", "4"), tensor("F32", "[0]", &max, &max)),
        // A size that is not that of the shape.
        (tensor("F32", "[1]", "0", "4"), tensor("F32", "[1]", "4", "12")),
    ];
    for (a, b) in pairs {
        let header = format!(r#"{{"a":{a},"b":{b}}}"#);
        let text = open(&file(&header, 12)).err().unwrap_or_else(|| panic!("accepted: {header}"));
        assert!(text.starts_with("FILE: not a complete safetensors file: "), "{text}");
    }
}

#[test]
fn types_and_ranks_that_tensors_do_not_have_are_named() {
    let header = format!(r#"{{"half":{}}}"#, tensor("I16", "[2]", "0", "4"));
    let want = "FILE: tensor `half` holds I16, which is not supported";
    assert_eq!(open(&file(&header, 4)).err().unwrap(), want);
    let header = format!(r#"{{"deep":{}}}"#, tensor("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4"));
    let want = "FILE: not a complete safetensors file: tensor `deep` has 9 dimensions";
    assert_eq!(open(&file(&header, 4)).err().unwrap(), want);
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let dir = TempDir::new().unwrap();
    let nowhere = dir.path().join("nowhere/x.safetensors");
    let text = TensorFile::open(&nowhere).err().unwrap().to_string();
    assert!(text.starts_with(&nowhere.display().to_string()), "{text}");
    let one = [("a", Tensor::ones([1], DType::F32))];
    let text = write_tensors(&nowhere, one, &BTreeMap::new()).unwrap_err().to_string();
    assert!(text.starts_with(&nowhere.display().to_string()), "{text}");
    assert!(matches!(TensorFile::open(dir.path()), Err(StorageError::Io { .. })));
}

proptest! {
    /// Whatever is done to a file, reading it ends in tensors or in a typed error.
    #[test]
    fn damaged_files_never_panic(at in 0_usize..600, with: [u8; 8], len in 0_usize..9) {
        let mut bytes = good();
        let at = at % bytes.len();
        let end = (at + len).min(bytes.len());
        bytes[at..end].copy_from_slice(&with[..end - at]);
        if let Ok(file) = open(&bytes) {
            for name in file.names() {
                let tensor = file.tensor(&name).unwrap();
                prop_assert!(tensor.count() * tensor.dtype().size() <= bytes.len());
            }
        }
    }
}
#[test]
fn an_empty_tensor_of_overflowing_sizes_is_refused() {
    let sizes = format!("[0,{0},{0}]", 1_u64 << 63);
    let header = format!(r#"{{"a":{}}}"#, tensor("F32", &sizes, "0", "0"));
    let text = open(&file(&header, 0)).expect_err("strides would overflow");
    assert!(text.starts_with("FILE: not a complete safetensors file: "), "{text}");
}

#[test]
fn half_precision_is_read_as_single() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("half.safetensors");
    let header = br#"{"x":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}}  "#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    for number in [1.5_f32, -0.1, 65504.0] {
        bytes.extend(half::f16::from_f32(number).to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.dtype("x"), Some(DType::F32));
    assert_eq!(file.tensor("x").unwrap().to_vec::<f32>(), [1.5, -0.099975586, 65504.0]);
    let mut double = [0.0_f64; 3];
    file.read_into("x", &mut double).unwrap();
    assert_eq!(double, [1.5, -0.0999755859375, 65504.0]);
}

//! Images from files: every format, every listing, what is wrong with them, and random versions.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rappel_config::OptionSet;
use rappel_data::{
    Augmentation, AutoAugment, Dataset, Image, ImageConfig, ImageProcessing, Normalization,
    ReadImages,
};
use rappel_tensor::{DType, Key};
use rappel_testkit::{Golden, mutated};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/images")
}

fn config(text: &str) -> ImageConfig {
    ImageConfig::from_toml("data", &toml::from_str(text).unwrap()).unwrap()
}

fn read(text: &str) -> Result<ReadImages, String> {
    config(text).read().map_err(|error| error.to_string())
}

/// An idx file of these sizes.
fn idx(sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let head = [0, 0, 8, sizes.len() as u8];
    let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
    head.into_iter().chain(sizes).chain(bytes.iter().copied()).collect()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder of MNIST's files: three images of 2x3 to train on, two to test on.
fn mnist() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<u8> = (0..18).collect();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("train-images-idx3-ubyte.gz", &gz(&idx(&[3, 2, 3], &pixels)));
    write("train-labels-idx1-ubyte.gz", &gz(&idx(&[3], &[2, 0, 1])));
    write("t10k-images-idx3-ubyte", &idx(&[2, 2, 3], &pixels[..12]));
    write("t10k-labels-idx1-ubyte", &idx(&[2], &[1, 1]));
    folder
}

#[test]
fn every_format_is_read_as_pillow_reads_it() {
    let golden = Golden::read(&fixtures().join("expected.safetensors"));
    for name in golden.names("") {
        let (shape, want) = golden.i64(name);
        let size = [shape[1], shape[2]];
        let processing = ImageProcessing::new(shape[0], size, Normalization::None);
        let (images, names) = processing.read(&fixtures().join(name)).unwrap();
        assert!(names[0].ends_with(name));
        let Image { channels, height, width, pixels } = &*images[0];
        assert_eq!([*channels, *height, *width], shape[..], "{name}");
        let apart = pixels.iter().zip(&want).map(|(pixel, want)| (i64::from(*pixel) - want).abs());
        let apart: Vec<i64> = apart.collect();
        // Decoders of JPEG round, and make colours of every pixel, differently.
        let (most, sum) = if name.ends_with("jpg") { (8, pixels.len()) } else { (0, 0) };
        assert!(apart.iter().all(|apart| *apart <= most), "{name}: {pixels:?}, not {want:?}");
        assert!(apart.iter().sum::<i64>() <= sum as i64, "{name}: {pixels:?}, not {want:?}");
    }
}

#[test]
fn folders_csvs_and_idx_files_are_found() {
    let folder = mnist();
    let path = folder.path().display();
    let ReadImages { training, validation, classes, processing } =
        read(&format!("path = '{path}'")).unwrap();
    assert_eq!(
        (classes, &training.labels),
        (vec!["0".into(), "1".into(), "2".into()], &vec![2, 0, 1])
    );
    assert_eq!((training.images[1].pixels[0], processing.size), (6, [2, 3]));
    let validation = validation.unwrap();
    assert_eq!((validation.labels, validation.images.len()), (vec![1, 1], 2));

    let classes = tempfile::tempdir().unwrap();
    for (class, file) in [("cat", "grey.png"), ("cat", "rgb.jpg"), ("ant", "lossless.webp")] {
        std::fs::create_dir_all(classes.path().join(class)).unwrap();
        std::fs::copy(fixtures().join(file), classes.path().join(class).join(file)).unwrap();
    }
    let at = classes.path().display();
    let of_folder = read(&format!("path = '{at}'\nimage_size = 8")).unwrap();
    assert_eq!(of_folder.classes, ["ant", "cat"]);
    assert_eq!(of_folder.training.labels, [0, 1, 1]);
    assert!(of_folder.training.images.iter().all(|image| image.pixels.len() == 3 * 8 * 8));
    std::fs::write(
        classes.path().join("list.csv"),
        "kind,path\nant,ant/lossless.webp\ncat,cat/grey.png\ncat,cat/rgb.jpg\n",
    )
    .unwrap();
    let text = format!("path = '{at}/list.csv'\nimage_size = 8\nlabel_column = 'kind'");
    let of_csv = read(&text).unwrap();
    assert_eq!(of_csv.training.fingerprint(), of_folder.training.fingerprint());
}

#[test]
fn images_in_parquet_files_are_those_of_their_files() {
    let at = fixtures();
    let at = at.display();
    // A column of bytes and paths, with the names of its classes in the file.
    let of_datasets = read(&format!("path = '{at}/hf.parquet'")).unwrap();
    assert_eq!(of_datasets.classes, ["plain", "squeezed", "unused"]);
    assert_eq!(of_datasets.training.labels, [0, 1, 0, 0]);
    let processing = &of_datasets.processing;
    for (i, name) in ["rgb.png", "rgb.jpg", "lossless.webp", "rgba.png"].iter().enumerate() {
        let file = processing.read(&fixtures().join(name)).unwrap().0;
        assert_eq!(file[0], of_datasets.training.images[i], "{name}");
    }
    let labelled =
        processing.read_labelled(&fixtures().join("hf.parquet"), &of_datasets.classes).unwrap();
    assert_eq!(labelled.labels, of_datasets.training.labels);
    let (images, names) = processing.read(&fixtures().join("hf.parquet")).unwrap();
    assert_eq!((images.len(), names[3].as_str()), (4, "3"));

    // Bytes alone, classes by name; a row without an image.
    let columns = "path_column = 'picture'\nlabel_column = 'kind'";
    let plain = format!("path = '{at}/bytes.parquet'\n{columns}");
    let error = read(&plain).unwrap_err();
    assert!(
        error.contains("bytes.parquet") && error.contains("row 5: the cell is empty"),
        "{error}"
    );
    let skipped = read(&format!("{plain}\non_bad_row = 'skip'")).unwrap();
    assert_eq!(
        (skipped.classes, skipped.training.labels),
        (vec!["a".into(), "b".into()], vec![0, 1, 0, 0])
    );
    assert_eq!(skipped.training.images, of_datasets.training.images);
    let error = read(&format!("path = '{at}/bytes.parquet'")).unwrap_err();
    assert!(error.contains("label"), "{error}");
    let error = read(&format!("path = '{at}/bytes.parquet'\nlabel_column = 'kind'")).unwrap_err();
    assert!(error.contains("no column `image`") && error.contains("picture"), "{error}");
}

/// RAPPEL_MUTATIONS=20000 tries so many.
#[test]
fn spoiled_images_are_errors_or_images_and_never_more_memory_than_they_say() {
    let count = std::env::var("RAPPEL_MUTATIONS").map_or(300, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let whole: Vec<(String, Vec<u8>)> = [
        "grey.png",
        "palette.png",
        "rgba.png",
        "deep.png",
        "rgb.jpg",
        "grey.jpg",
        "lossless.webp",
        "hf.parquet",
        "bytes.parquet",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), std::fs::read(fixtures().join(name)).unwrap()))
    .chain([("a-images-idx3-ubyte".to_owned(), idx(&[3, 2, 3], &[7; 18]))])
    .collect();
    let (mut refused, mut read_all_the_same) = (0, 0);
    for number in 0..count {
        let (name, bytes) = &whole[number % whole.len()];
        let path = folder.path().join(name);
        std::fs::write(&path, mutated(bytes, number as u64)).unwrap();
        let processing = ImageProcessing::new(3, [8, 8], Normalization::Half);
        match processing.read(&path) {
            Ok((images, _)) => {
                assert!(images.iter().all(|image| image.pixels.len() == 3 * 64), "{number}");
                read_all_the_same += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(name), "{number}: {error}");
                refused += 1;
            }
        }
    }
    assert!(
        refused > count / 4 && read_all_the_same > count / 50,
        "{refused}, {read_all_the_same}"
    );
    // A small file cannot make a large image of itself: none says more than 9x14 pixels unless its header was changed.
    let most = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = most.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    assert!(peak.is_none_or(|kilobytes| kilobytes < 4 << 20), "{peak:?} kB");
}

#[test]
fn what_is_wrong_is_told_by_name_or_skipped_and_counted() {
    let folder = mnist();
    let at = folder.path().display().to_string();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let told = |text: String| read(&text).unwrap_err();
    write("t10k-labels-idx1-ubyte", &idx(&[2], &[1, 9]));
    assert!(told(format!("path = '{at}'")).contains("a label of 9, and there are 3 classes"));
    write("t10k-labels-idx1-ubyte", &idx(&[3], &[1, 1, 1]));
    assert!(told(format!("path = '{at}'")).contains("3 labels for images of sizes [2, 2, 3]"));
    write("t10k-images-idx3-ubyte", &idx(&[u32::MAX, u32::MAX, 3], &[1]));
    assert!(told(format!("path = '{at}'")).contains("are absurd"));
    write("t10k-images-idx3-ubyte", &idx(&[9, 2, 3], &[1]));
    assert!(told(format!("path = '{at}'")).contains("that is 54 bytes, and has 1"));
    write("t10k-images-idx3-ubyte", b"PK");
    assert!(told(format!("path = '{at}'")).contains("t10k-images-idx3-ubyte"));

    let classes = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        std::fs::create_dir(classes.path().join(class)).unwrap();
        std::fs::copy(fixtures().join("rgb.png"), classes.path().join(class).join("1.png"))
            .unwrap();
    }
    let whole = std::fs::read(fixtures().join("rgb.png")).unwrap();
    std::fs::write(classes.path().join("b/2.png"), &whole[..whole.len() / 2]).unwrap();
    // A header that says far more than is there.
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[0x7f; 8]);
    std::fs::write(classes.path().join("b/3.png"), huge).unwrap();
    std::fs::write(classes.path().join("b/4.jpg"), "no image").unwrap();
    let at = classes.path().display();
    let error = told(format!("path = '{at}'"));
    assert!(error.contains("2.png: not an image"), "{error}");
    let skipped = read(&format!("path = '{at}'\non_bad_row = 'skip'")).unwrap().training;
    assert_eq!(skipped.labels, [0, 1]);
    assert!(skipped.details[1].contains("3 images that cannot be read were skipped"));
    std::fs::copy(fixtures().join("rgb.png"), classes.path().join("5.png")).unwrap();
    assert!(told(format!("path = '{at}'")).contains("5.png: stands in no class's folder"));
    assert!(told(format!("path = '{at}/a'")).contains("stands in no class's folder"));
    assert!(told("path = 'nowhere'".to_owned()).contains("nowhere"));
}

#[test]
fn random_versions_depend_on_the_key_and_the_images_number_alone() {
    let processing = ImageProcessing::new(3, [8, 8], Normalization::Half);
    let image = |seed: usize| {
        let pixels = (0..300).map(|i| (i * 37 + seed * 11) as u8).collect();
        Arc::new(Image { channels: 3, height: 10, width: 10, pixels })
    };
    let images: Vec<_> = (0..6).map(|i| (40 + i, image(i))).collect();
    for auto_augment in [AutoAugment::Trivial, AutoAugment::Rand] {
        let augmentation = Augmentation {
            pad_crop: 1,
            random_resized_crop: true,
            hflip: 0.5,
            auto_augment,
            color_jitter: 0.4,
            random_erasing: 0.5,
            ..Augmentation::default()
        };
        let all = augmentation.tensor(&processing, &images, DType::F32, Key::new(1));
        assert_eq!(*all.shape(), [6, 3, 8, 8]);
        let values = all.to_vec::<f32>();
        assert!(values.iter().all(|value| value.is_finite()));
        let one = augmentation.tensor(&processing, &images[4..5], DType::F32, Key::new(1));
        assert_eq!(one.to_vec::<f32>(), values[4 * 192..5 * 192]);
        let other = augmentation.tensor(&processing, &images, DType::F32, Key::new(2));
        assert_ne!(other.to_vec::<f32>(), values);
    }
    // Every map, often.
    let trivial = Augmentation {
        auto_augment: AutoAugment::Trivial,
        random_resized_crop: true,
        ..Augmentation::default()
    };
    for key in 0..40 {
        let values =
            trivial.tensor(&processing, &images, DType::F32, Key::new(key)).to_vec::<f32>();
        assert!(values.iter().all(|value| (-1.01..=1.01).contains(value)));
    }
}

#[test]
fn without_anything_random_an_image_is_what_a_model_reads_in_evaluation() {
    let processing = ImageProcessing::new(1, [2, 2], Normalization::Half);
    let image = Arc::new(Image { channels: 1, height: 2, width: 2, pixels: vec![0, 51, 102, 255] });
    let plain = Augmentation::default();
    let drawn = plain.tensor(&processing, &[(0, image.clone())], DType::F32, Key::new(0));
    let read = processing.tensor([&image].into_iter(), DType::F32);
    assert_eq!(drawn.to_vec::<f32>(), read.to_vec::<f32>());
    let want = [-1.0, -0.6, -0.2, 1.0];
    assert!(read.to_vec::<f32>().iter().zip(want).all(|(x, want)| (x - want).abs() < 1e-6));
    let flipped = Augmentation { hflip: 1.0, ..plain };
    let flipped = flipped.tensor(&processing, &[(0, image)], DType::F32, Key::new(0));
    assert!((flipped.to_vec::<f32>()[0] + 0.6).abs() < 1e-6);
}

#[test]
fn processing_goes_through_its_file() {
    for normalization in [Normalization::Imagenet, Normalization::Clip, Normalization::FashionMnist]
    {
        for (channels, size) in [(3, [16, 16]), (1, [9, 14])] {
            let made = ImageProcessing {
                crop_pct: 0.875,
                test_flip: channels == 1,
                ..ImageProcessing::new(channels, size, normalization)
            };
            let again =
                ImageProcessing::from_json(&made.to_json(), channels, Path::new("x")).unwrap();
            assert_eq!(again, made);
        }
    }
    let json = serde_json::json!({ "size": 224, "image_mean": [0.5] });
    let error = ImageProcessing::from_json(json.as_object().unwrap(), 3, Path::new("p.json"));
    assert_eq!(
        error.unwrap_err().to_string(),
        "p.json: `image_mean` is [0.5], expected a number for each channel"
    );
}

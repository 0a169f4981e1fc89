//! Downloads from a server that has the hub's paths.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rappel_hub::{Hub, HubError, Reference};
use rappel_testkit::{COMMIT, HubServer, Request, hex_sha256 as hex};

struct Server {
    hub: HubServer,
    cache: tempfile::TempDir,
}

fn weights() -> Vec<u8> {
    (0..300_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect()
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let files = [
        (".gitattributes", b"x".to_vec()),
        ("1_Pooling/config.json", b"{\"pooling_mode_mean_tokens\": true}".to_vec()),
        ("modules.json", b"[]".to_vec()),
        ("onnx/config.json", b"{}".to_vec()),
        ("README.md", b"# tiny".to_vec()),
        ("config.json", b"{\"model_type\": \"llama\"}".to_vec()),
        ("model.safetensors", weights()),
        ("quantized/tiny-q8_0.gguf", weights()[..5000].to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
    ];
    files.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

impl Server {
    fn new() -> Self {
        Self { hub: HubServer::new(files()), cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self, more: &[(&str, &str)]) -> Hub {
        Hub::with(&|name| {
            let given =
                more.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            given.or_else(|| match name {
                "HF_ENDPOINT" => Some(self.hub.endpoint().to_owned()),
                "HF_HOME" => Some(self.cache.path().display().to_string()),
                _ => None,
            })
        })
    }

    fn get(&self, name: &str) -> Result<PathBuf, HubError> {
        self.hub(&[]).model(&Reference::parse(name).unwrap(), &mut |_| ())
    }

    fn told(&self, name: &str) -> String {
        self.get(name).unwrap_err().to_string()
    }

    fn requests(&self) -> Vec<Request> {
        self.hub.requests()
    }
}

fn is_whole(folder: &Path) {
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), files()["config.json"]);
    assert_eq!(fs::read(folder.join("tokenizer.json")).unwrap(), b"{}");
    let pooling = fs::read(folder.join("1_Pooling/config.json")).unwrap();
    assert_eq!(pooling, files()["1_Pooling/config.json"]);
    assert!(folder.join("modules.json").exists() && !folder.join("onnx").exists());
    assert!(!folder.join("README.md").exists() && !folder.join("quantized").exists());
}

#[test]
fn a_model_is_downloaded_once_into_the_cache_of_the_hubs_own_library() {
    let server = Server::new();
    let mut shown = Vec::new();
    let reference = Reference::parse("org/tiny").unwrap();
    let found = server
        .hub(&[])
        .model(&reference, &mut |at| shown.push((at.file.to_owned(), at.bytes, at.total)))
        .unwrap();
    let model = server.cache.path().join("hub/models--org--tiny");
    assert_eq!(found, model.join("snapshots").join(COMMIT));
    is_whole(&found);
    assert_eq!(fs::read_to_string(model.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read(model.join("blobs").join(hex(&weights()))).unwrap(), weights());
    let last = shown.last().unwrap();
    assert_eq!((last.0.as_str(), last.1, last.2), ("model.safetensors", 1_200_000, 1_200_000));

    server.requests();
    assert_eq!(server.get("org/tiny").unwrap(), found);
    let asked = server.requests();
    assert_eq!(asked.len(), 1, "only which commit it is: {asked:?}");
    assert_eq!(server.get(&format!("org/tiny@{COMMIT}")).unwrap(), found);
    assert!(server.requests().is_empty(), "a commit that is there needs no hub");
    let offline = server.hub(&[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline.model(&reference, &mut |_| ()).unwrap(), found);
    assert!(server.requests().is_empty());
}

#[test]
fn a_gguf_file_is_downloaded_alone() {
    let server = Server::new();
    let found = server.get("org/tiny@main/quantized/tiny-q8_0.gguf").unwrap();
    assert_eq!(fs::read(&found).unwrap(), weights()[..5000]);
    assert!(!found.parent().unwrap().parent().unwrap().join("config.json").exists());
    let told = server.told("org/tiny/other.gguf");
    assert!(
        told.contains("has no other.gguf") && told.contains("quantized/tiny-q8_0.gguf"),
        "{told}"
    );
}

#[test]
fn a_download_that_is_cut_off_goes_on_where_it_ended() {
    let server = Server::new();
    server.hub.set(|state| state.cut = Some((300_000, 2)));
    is_whole(&server.get("org/tiny").unwrap());
    let ranges: Vec<_> = server.requests().into_iter().filter_map(|(_, range, _)| range).collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges.iter().all(|range| range != "bytes=0-"));

    // What came of a download that failed is there for the next one.
    let server = Server::new();
    server.hub.set(|state| state.cut = Some((100_000, 5)));
    let told = server.told("org/tiny");
    assert!(told.contains("model.safetensors") && told.contains("of 1200000 bytes"), "{told}");
    let snapshot = server.cache.path().join("hub/models--org--tiny/snapshots").join(COMMIT);
    assert!(!snapshot.join("model.safetensors").exists());
    server.requests();
    is_whole(&server.get("org/tiny").unwrap());
    let ranges: Vec<_> = server.requests().into_iter().filter_map(|(_, range, _)| range).collect();
    assert_eq!(ranges, ["bytes=500000-"]);
}

#[test]
fn bytes_that_are_not_those_of_the_hash_are_refused() {
    let server = Server::new();
    server.hub.set(|state| state.damaged = true);
    let told = server.told("org/tiny");
    assert!(told.contains("model.safetensors") && told.contains("SHA-256"), "{told}");
    server.hub.set(|state| state.damaged = false);
    is_whole(&server.get("org/tiny").unwrap());
}

#[test]
fn a_hub_that_is_busy_is_asked_again() {
    let server = Server::new();
    server
        .hub
        .set(|state| state.failing = vec![("/api/".into(), 503, 2), ("/cdn/".into(), 500, 1)]);
    is_whole(&server.get("org/tiny").unwrap());
    server.hub.set(|state| state.failing = vec![("/api/".into(), 502, 100)]);
    let told = server.told("org/tiny");
    assert!(told.contains("status 502"), "{told}");
}

#[test]
fn what_is_refused_or_missing_says_what_to_do() {
    let server = Server::new();
    let told = server.told("org/private");
    assert!(told.contains("401") && told.contains("HF_TOKEN"), "{told}");
    let hub = server.hub(&[("HF_TOKEN", "secret")]);
    let told = hub.model(&Reference::parse("org/private").unwrap(), &mut |_| ()).unwrap_err();
    assert!(matches!(told, HubError::NotFound { .. }), "the token came along: {told}");
    let told = server.told("org/nothing");
    assert!(told.contains("there is no such model"), "{told}");
    let offline = server.hub(&[("HF_HUB_OFFLINE", "true")]);
    let told = offline.model(&Reference::parse("org/tiny").unwrap(), &mut |_| ()).unwrap_err();
    assert!(told.to_string().contains("HF_HUB_OFFLINE"), "{told}");
    let nobody = Hub::with(&|name| match name {
        "HF_ENDPOINT" => Some("http://127.0.0.1:1".to_owned()),
        "HF_HOME" => Some(server.cache.path().display().to_string()),
        _ => None,
    });
    let told = nobody.model(&Reference::parse("org/tiny").unwrap(), &mut |_| ()).unwrap_err();
    assert!(told.to_string().contains("cannot reach http://127.0.0.1:1/"), "{told}");
}

#[test]
fn a_model_that_was_renamed_is_found() {
    let server = Server::new();
    let told = server.told("org/old");
    // The listing is followed to its new name; files of the old one are not served here.
    assert!(told.contains("/org/old/resolve/"), "{told}");
}

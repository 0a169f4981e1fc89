//! Downloads from a server that has the hub's paths.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rappel_hub::{Hub, HubError, Reference};
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a request was: its path, its range, its token.
type Request = (String, Option<String>, Option<String>);

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    /// Answers with this status, so many times, to paths that contain the text.
    failing: Vec<(String, u16, usize)>,
    /// Bytes of a content after which the connection is closed, so many times.
    cut: Option<(usize, usize)>,
    /// Contents whose bytes are others than their hash says.
    damaged: bool,
}

struct Server {
    endpoint: String,
    state: Arc<Mutex<State>>,
    cache: tempfile::TempDir,
}

fn weights() -> Vec<u8> {
    (0..300_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect()
}

fn files() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        (".gitattributes", b"x".to_vec()),
        ("README.md", b"# tiny".to_vec()),
        ("config.json", b"{\"model_type\": \"llama\"}".to_vec()),
        ("model.safetensors", weights()),
        ("quantized/tiny-q8_0.gguf", weights()[..5000].to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
    ])
}

fn hex(bytes: &[u8]) -> String {
    rappel_files::hex(&Sha256::digest(bytes))
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared);
            }
        });
        Self { endpoint, state, cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self, more: &[(&str, &str)]) -> Hub {
        Hub::with(&|name| {
            let given =
                more.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            given.or_else(|| match name {
                "HF_ENDPOINT" => Some(self.endpoint.clone()),
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
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut token) = (None, None);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.to_owned()),
            "authorization" => token = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap();
    state.requests.push((path.clone(), range.clone(), token.clone()));
    let failing =
        state.failing.iter_mut().find(|(part, _, times)| path.contains(part) && *times > 0);
    let mut send = |status: u16, headers: &str, body: &[u8], length: usize| {
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)
    };
    if let Some((_, status, times)) = failing {
        *times -= 1;
        let status = *status;
        return send(status, "", b"", 0);
    }
    let all = files();
    let rest = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
    if path == "/api/models/org/old/revision/main" {
        return send(307, "Location: /api/models/org/tiny/revision/main\r\n", b"", 0);
    }
    if path.starts_with("/api/models/org/tiny/revision/") {
        let names: Vec<String> =
            all.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let json = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", names.join(", "));
        return send(200, "", json.as_bytes(), json.len());
    }
    if path == "/org/private/resolve" || path.starts_with("/api/models/org/private") {
        return match token.as_deref() {
            Some("Bearer secret") => send(404, "", b"", 0),
            _ => send(401, "", b"", 0),
        };
    }
    if let Some(bytes) = rest.and_then(|name| all.get(name)) {
        if bytes.len() < 1000 {
            let etag = format!("ETag: \"{}\"\r\n", &hex(bytes)[..40]);
            return send(200, &etag, bytes, bytes.len());
        }
        let hash = hex(bytes);
        let headers = format!(
            "Location: /cdn/{hash}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\n",
            bytes.len()
        );
        return send(302, &headers, b"", 0);
    }
    let content = all.values().find(|bytes| path == format!("/cdn/{}", hex(bytes)));
    let Some(bytes) = content else { return send(404, "", b"", 0) };
    let mut bytes = bytes.clone();
    if state.damaged {
        bytes[7] ^= 1;
    }
    let from: usize = range.as_ref().map_or(0, |range| {
        range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
    });
    let (status, part) = (if range.is_some() { 206 } else { 200 }, &bytes[from..]);
    let sent = match &mut state.cut {
        Some((after, times)) if *times > 0 => {
            *times -= 1;
            &part[..(*after).min(part.len())]
        }
        _ => part,
    };
    send(status, "", sent, part.len())
}

fn is_whole(folder: &Path) {
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), files()["config.json"]);
    assert_eq!(fs::read(folder.join("tokenizer.json")).unwrap(), b"{}");
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
    server.set(|state| state.cut = Some((300_000, 2)));
    is_whole(&server.get("org/tiny").unwrap());
    let ranges: Vec<_> = server.requests().into_iter().filter_map(|(_, range, _)| range).collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges.iter().all(|range| range != "bytes=0-"));

    // What came of a download that failed is there for the next one.
    let server = Server::new();
    server.set(|state| state.cut = Some((100_000, 5)));
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
    server.set(|state| state.damaged = true);
    let told = server.told("org/tiny");
    assert!(told.contains("model.safetensors") && told.contains("SHA-256"), "{told}");
    server.set(|state| state.damaged = false);
    is_whole(&server.get("org/tiny").unwrap());
}

#[test]
fn a_hub_that_is_busy_is_asked_again() {
    let server = Server::new();
    server.set(|state| state.failing = vec![("/api/".into(), 503, 2), ("/cdn/".into(), 500, 1)]);
    is_whole(&server.get("org/tiny").unwrap());
    server.set(|state| state.failing = vec![("/api/".into(), 502, 100)]);
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

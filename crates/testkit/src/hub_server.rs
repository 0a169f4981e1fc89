//! A server that has the paths of the Hugging Face Hub.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

/// The commit of the model that it has.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a request was: its path, its range, its token.
pub type Request = (String, Option<String>, Option<String>);

/// What it does wrong, and what it was asked.
#[derive(Debug, Default)]
pub struct Faults {
    requests: Vec<Request>,
    /// Answers with this status, so many times, to paths that contain the text.
    pub failing: Vec<(String, u16, usize)>,
    /// Bytes of a content after which the connection is closed, so many times.
    pub cut: Option<(usize, usize)>,
    /// Contents whose bytes are others than their hash says.
    pub damaged: bool,
}

/// A server of the model `org/tiny`, once called `org/old`, beside `org/private`, which wants the token `secret` and has
/// nothing. Files of a thousand bytes and more lie elsewhere, as large files of the hub do.
#[derive(Debug)]
pub struct HubServer {
    endpoint: String,
    faults: Arc<Mutex<Faults>>,
}

impl HubServer {
    /// A server of these files, until the program ends.
    ///
    /// # Panics
    /// Where no port is free.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let faults = Arc::new(Mutex::new(Faults::default()));
        let shared = Arc::clone(&faults);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up gets no more.
                let _ = answer(stream, &files, &shared);
            }
        });
        Self { endpoint, faults }
    }

    /// Its address, as `HF_ENDPOINT` has it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it was asked since the last time.
    ///
    /// # Panics
    /// Where the server did.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.faults.lock().unwrap().requests)
    }

    /// Makes it do wrong.
    ///
    /// # Panics
    /// Where the server did.
    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }
}

/// The SHA-256 of bytes in hexadecimal digits.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    state: &Mutex<Faults>,
) -> std::io::Result<()> {
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
    let rest = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
    if path == "/api/models/org/old/revision/main" {
        return send(307, "Location: /api/models/org/tiny/revision/main\r\n", b"", 0);
    }
    if path.starts_with("/api/models/org/tiny/revision/") {
        let names: Vec<String> =
            files.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let json = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", names.join(", "));
        return send(200, "", json.as_bytes(), json.len());
    }
    if path == "/org/private/resolve" || path.starts_with("/api/models/org/private") {
        return match token.as_deref() {
            Some("Bearer secret") => send(404, "", b"", 0),
            _ => send(401, "", b"", 0),
        };
    }
    if let Some(bytes) = rest.and_then(|name| files.get(name)) {
        if bytes.len() < 1000 {
            let etag = format!("ETag: \"{}\"\r\n", &hex_sha256(bytes)[..40]);
            return send(200, &etag, bytes, bytes.len());
        }
        let hash = hex_sha256(bytes);
        let headers = format!(
            "Location: /cdn/{hash}\r\nX-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\n",
            bytes.len()
        );
        return send(302, &headers, b"", 0);
    }
    let content = files.values().find(|bytes| path == format!("/cdn/{}", hex_sha256(bytes)));
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

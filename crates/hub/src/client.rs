//! Requests to the hub.

use std::io::Read;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::error::HubError;
use crate::reference::Reference;

/// How often a request is tried, and how long the first pause between is.
pub(crate) const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// Redirects of one request, at most.
const MOST_REDIRECTS: usize = 5;

pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// A model's commit and files.
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What the hub says of a file, and its bytes from a position on.
pub(crate) struct Opened {
    /// What its content is called: a SHA-256 for large files.
    pub etag: String,
    pub size: Option<u64>,
    /// Where `body` begins.
    pub from: u64,
    pub body: Box<dyn Read>,
}

impl Client {
    pub fn new(endpoint: String, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), endpoint, token }
    }

    /// The commit and the files of a revision.
    pub fn listing(&self, reference: &Reference) -> Result<Listing, HubError> {
        let Reference { repository, revision, .. } = reference;
        let url = format!("{}/api/models/{repository}/revision/{revision}", self.endpoint);
        let mut answer = self.patiently(&url, None, reference)?;
        let form = |reason: String| HubError::Answer { url: url.clone(), reason };
        let text = answer.body_mut().read_to_string().map_err(|error| form(error.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| form(error.to_string()))?;
        let file = |sibling: &Value| sibling["rfilename"].as_str().map(str::to_owned);
        let files = json["siblings"].as_array().map(|all| all.iter().filter_map(file).collect());
        let commit = json["sha"].as_str().filter(|sha| is_hexadecimal(sha, 40));
        match (commit, files) {
            (Some(commit), Some(files)) => Ok(Listing { commit: commit.to_owned(), files }),
            _ => Err(form("the answer names no commit or no files".to_owned())),
        }
    }

    /// The address of a file.
    pub fn url(&self, reference: &Reference, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.endpoint, reference.repository)
    }

    /// Opens a file; `have` says how many bytes of a content are there already.
    pub fn open(
        &self,
        url: &str,
        reference: &Reference,
        have: &dyn Fn(&str) -> u64,
    ) -> Result<Opened, HubError> {
        let first = self.patiently(url, None, reference)?;
        let header = |answer: &Response<Body>, name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let etag = header(&first, "x-linked-etag").or_else(|| header(&first, "etag"));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let plain = |etag: &String| {
            !etag.is_empty() && etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let Some(etag) = etag.filter(plain) else {
            let reason = "the answer has no ETag, so that the file could not be checked".to_owned();
            return Err(HubError::Answer { url: url.to_owned(), reason });
        };
        let length = |answer: &Response<Body>| header(answer, "content-length")?.parse().ok();
        let linked: Option<u64> =
            header(&first, "x-linked-size").and_then(|size| size.parse().ok());
        let size = linked.or_else(|| length(&first).filter(|_| first.status().is_success()));
        let have = match (have(&etag), size) {
            (have, Some(size)) if have > size => 0,
            (have, Some(size)) if have == size && have > 0 => {
                return Ok(Opened {
                    etag,
                    size: Some(size),
                    from: have,
                    body: Box::new(std::io::empty()),
                });
            }
            (have, _) => have,
        };
        let location = header(&first, "location").filter(|_| first.status().is_redirection());
        if location.is_none() && have == 0 {
            return Ok(Opened {
                etag,
                size,
                from: 0,
                body: Box::new(first.into_body().into_reader()),
            });
        }
        drop(first);
        let target = location.map_or_else(|| url.to_owned(), |to| joined(&self.endpoint, &to));
        let answer = self.patiently(&target, (have > 0).then_some(have), reference)?;
        let from = if answer.status().as_u16() == 206 { have } else { 0 };
        let size = linked.or_else(|| Some(length(&answer)? + from));
        Ok(Opened { etag, size, from, body: Box::new(answer.into_body().into_reader()) })
    }

    /// The answer to a request, tried again where the hub is busy or not reached; a first redirect is given back, others
    /// are followed.
    fn patiently(
        &self,
        url: &str,
        from: Option<u64>,
        reference: &Reference,
    ) -> Result<Response<Body>, HubError> {
        let mut tried = 0;
        loop {
            let result = self.request(url, from, reference);
            tried += 1;
            let again = match &result {
                Err(HubError::Unreachable { .. }) => true,
                Err(HubError::Status { status, .. }) => *status >= 500 || *status == 429,
                _ => false,
            };
            if !again || tried == TRIES {
                return result;
            }
            sleep(PAUSE * 2_u32.pow(tried - 1));
        }
    }

    fn request(
        &self,
        url: &str,
        from: Option<u64>,
        reference: &Reference,
    ) -> Result<Response<Body>, HubError> {
        let mut url = url.to_owned();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.agent.get(&url);
            // The token is the hub's: other hosts, to which it redirects, do not get it.
            if let Some(token) = self.token.as_ref().filter(|_| self.is_own(&url)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(from) = from {
                request = request.header("range", format!("bytes={from}-"));
            }
            let answer = request.call().map_err(|error| HubError::Unreachable {
                url: url.clone(),
                reason: error.to_string(),
            })?;
            let status = answer.status().as_u16();
            let location = answer.headers().get("location").and_then(|to| to.to_str().ok());
            match (status, location) {
                (200 | 206, _) => return Ok(answer),
                // One that says what it leads to is looked at first.
                (300..=399, Some(_)) if answer.headers().contains_key("x-linked-etag") => {
                    return Ok(answer);
                }
                (300..=399, Some(to)) => url = joined(&self.endpoint, to),
                (401 | 403, _) => {
                    return Err(HubError::Refused { model: reference.to_string(), status });
                }
                (404, _) => return Err(HubError::NotFound { url }),
                _ => return Err(HubError::Status { url, status }),
            }
        }
        let reason = format!("more than {MOST_REDIRECTS} redirects");
        Err(HubError::Answer { url, reason })
    }

    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.endpoint).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// A redirect's target, which may lack its host.
fn joined(endpoint: &str, to: &str) -> String {
    if to.starts_with('/') { format!("{endpoint}{to}") } else { to.to_owned() }
}

/// Whether a text is so many digits of a hash.
pub(crate) fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

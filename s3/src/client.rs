//! Layers to a bucket, and questions to who publishes what is in it (CVM-20, CVM-21).

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop::progress::ProgressItem;
use orlop::thin::{LayerUpload, PackedLayer, Publication, Repository};
use orlop::{Digest, Error, ErrorKind, Result};
use rusty_s3::actions::{HeadObject, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

use crate::config::Config;

/// The bucket that layers are published from.
const BUCKET: &str = "layers";

/// What a layer's file is said to be.
const TYPE: &str = "application/x-gzip";

/// How often a layer is sent before it is given up.
const TRIES: u32 = 5;

/// The pause before the second try; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long a signature is good for: as long as it takes to begin a request.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);

/// What a server takes in one piece (S3's PutObject).
const LARGEST: u64 = 5 << 30;

/// How long a server may take to say what it has of a layer.
const HEAD_TIME: Duration = Duration::from_secs(20);

/// How long who publishes may take for an answer.
const STATUS_TIME: Duration = Duration::from_secs(2);

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// The most that is read of an answer.
const ANSWER_MAX: u64 = 4096;

/// A bucket, and who publishes what is in it.
pub struct S3Upload {
    config: Config,
    bucket: Bucket,
    credentials: Credentials,
    agent: Agent,
    first_pause: Duration,
}

/// Why a try has failed.
struct Failure {
    why: String,
    /// Whether the next one may do better.
    passing: bool,
}

impl S3Upload {
    /// A client for that server. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the host is none.
    pub fn new(config: Config) -> Result<Self> {
        let scheme = if config.tls { "https" } else { "http" };
        let wrong = |why: String| {
            Error::new(ErrorKind::Config, "reading where layers are sent")
                .detail(format!("Host {:?}: {why}", config.host))
        };
        let endpoint = format!("{scheme}://{}", config.host)
            .parse()
            .map_err(|e| wrong(format!("it is no host: {e}")))?;
        let bucket = Bucket::new(endpoint, UrlStyle::Path, BUCKET, config.region.clone())
            .map_err(|e| wrong(e.to_string()))?;
        let credentials = Credentials::new(config.access_key.clone(), config.access_secret.clone());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // A layer goes to the host that it was signed for.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("orlop-s3/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_write(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_recv_body(Some(SILENCE))
            .build()
            .new_agent();
        Ok(Self { config, bucket, credentials, agent, first_pause: FIRST_PAUSE })
    }

    /// With another pause before the second try; it doubles with each further one.
    #[must_use]
    pub fn with_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    fn try_put(
        &self,
        layer: &PackedLayer,
        item: &dyn ProgressItem,
    ) -> std::result::Result<(), Failure> {
        let checksum = checksum(layer.digest());
        let length = layer.size().to_string();
        let mut action =
            PutObject::new(&self.bucket, Some(&self.credentials), layer.digest().hex());
        // Signed, so that the server holds the content against it.
        action.headers_mut().insert("x-amz-checksum-sha256", checksum.as_str());
        action.headers_mut().insert("content-type", TYPE);
        let url = action.sign(SIGNED_FOR);
        let mut content = layer.content(item);
        let sent = self
            .agent
            .put(url.as_str())
            .header("x-amz-checksum-sha256", &checksum)
            .header("content-type", TYPE)
            .header("content-length", &length)
            .send(SendBody::from_reader(&mut content));
        let mut answer = sent.map_err(|e| Failure { why: unsigned(&e), passing: may_pass(&e) })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = beginning(answer.body_mut().as_reader());
        Err(Failure { why: format!("the answer is {status}: {said}"), passing: is_passing(status) })
    }
}

impl LayerUpload for S3Upload {
    fn repository(&self) -> &Repository {
        &self.config.repository
    }

    /// By its size and the checksum that the server took it with. A server that keeps none gets the layer again.
    fn holds(&self, layer: &PackedLayer) -> bool {
        let checksum = checksum(layer.digest());
        let mut action =
            HeadObject::new(&self.bucket, Some(&self.credentials), layer.digest().hex());
        action.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        let url = action.sign(SIGNED_FOR);
        let asked = self
            .agent
            .head(url.as_str())
            .header("x-amz-checksum-mode", "ENABLED")
            .config()
            .timeout_global(Some(HEAD_TIME))
            .build()
            .call();
        let Ok(answer) = asked else { return false };
        let says =
            |name: &str, value: &str| answer.headers().get(name).is_some_and(|told| told == value);
        answer.status().is_success()
            && says("content-length", &layer.size().to_string())
            && says("x-amz-checksum-sha256", &checksum)
    }

    fn put(&self, layer: &PackedLayer, item: &dyn ProgressItem) -> Result<()> {
        let action = || {
            format!(
                "sending the layer {} to bucket {BUCKET} at {}",
                layer.digest(),
                self.config.host
            )
        };
        if layer.size() > LARGEST {
            return Err(Error::new(ErrorKind::NotSupported, action())
                .detail(format!(
                    "it has {} bytes, and a server takes {LARGEST} in one piece",
                    layer.size()
                ))
            .hint("make the layer smaller by building the image in more steps; nothing has been published"));
        }
        let mut pause = self.first_pause;
        let mut tries = 1;
        loop {
            let Err(failure) = self.try_put(layer, item) else { return Ok(()) };
            if item.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled, action()));
            }
            if !failure.passing || tries == TRIES {
                let tries = if tries == 1 { String::new() } else { format!(" ({tries} tries)") };
                return Err(Error::new(ErrorKind::Io, action())
                    .detail(format!("{}{tries}", failure.why))
                    .hint("are host, bucket and keys right? it has not been published; the next attempt goes on with it"));
            }
            tracing::warn!(layer = %layer.digest(), why = failure.why, tries, "sent again");
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2);
            tries += 1;
        }
    }

    fn status(&self, digest: &Digest) -> Result<Publication> {
        let url = format!("{}/{}", self.config.status_url, digest.hex());
        let failed = |why: String| {
            Error::new(ErrorKind::Io, format!("asking {url:?} what has become of a layer"))
                .detail(why)
                .hint("is PublishStatusURL right, and does who publishes run? the next attempt goes on with what was sent")
        };
        let request = self.agent.get(&url).config().timeout_global(Some(STATUS_TIME)).build();
        let mut answer = match request.call() {
            Ok(answer) => answer,
            Err(e) if may_pass(&e) => return Ok(Publication::NoAnswer(format!("{url:?}: {e}"))),
            Err(e) => return Err(failed(e.to_string())),
        };
        let status = answer.status();
        let said = match read_beginning(answer.body_mut().as_reader()) {
            (said, None) => said,
            (_, Some(e)) => return Ok(Publication::NoAnswer(format!("{url:?}: {e}"))),
        };
        if is_passing(status) {
            return Ok(Publication::NoAnswer(format!("{url:?}: the answer is {status}: {said}")));
        }
        if status.as_u16() != 200 {
            return Err(failed(format!("the answer is {status}: {said}")));
        }
        match said.as_str() {
            "publishing" => Ok(Publication::Publishing),
            "done" => Ok(Publication::Done),
            "unknown" => Ok(Publication::Unknown),
            _ => Err(failed(format!("the answer is {said:?}"))),
        }
    }
}

/// Whether the next try may do better after that answer.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 429)
}

/// Whether the next try may do better after no answer: TLS that is refused stays so, and so does what is no address.
fn may_pass(e: &ureq::Error) -> bool {
    !matches!(e, ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_))
}

/// A digest as the header has it.
fn checksum(digest: &Digest) -> String {
    let nibble = |b: &u8| match b {
        b'a'..=b'f' => b - b'a' + 10,
        _ => b.wrapping_sub(b'0'),
    };
    let pair = |pair: &[u8]| pair.iter().map(nibble).fold(0, |byte: u8, n| (byte << 4) | n);
    STANDARD.encode(digest.hex().as_bytes().chunks(2).map(pair).collect::<Vec<_>>())
}

/// The beginning of what a server says, in one line; what was read until an error is all that there is to tell.
fn beginning(answer: impl Read) -> String {
    read_beginning(answer).0
}

/// As [`beginning`], and the error that cut it short.
fn read_beginning(answer: impl Read) -> (String, Option<std::io::Error>) {
    let mut bytes = Vec::new();
    let error = answer.take(ANSWER_MAX).read_to_end(&mut bytes).err();
    let text = String::from_utf8_lossy(&bytes);
    (text.split_whitespace().collect::<Vec<_>>().join(" "), error)
}

/// What went wrong, without the address: it is signed.
fn unsigned(e: &ureq::Error) -> String {
    match e {
        ureq::Error::BadUri(_) => "the address is no address".to_owned(),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_headers_have_them() {
        let digest = Digest::sha256(b"");
        assert_eq!(checksum(&digest), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}

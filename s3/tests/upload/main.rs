//! Layers to a real server of the S3 protocol, with failures between (`overlay-driver.md` CVM-19 to CVM-22).
//!
//! The server is versitygw, built by `make s3-server`, on a socket in the file system. Before it stands a relay on the loopback address,
//! which lets requests through, answers them itself, or loses them. Who publishes is played by a second one: it unpacks what is in
//! the bucket.

// The helpers around the tests fail as the tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod relay;
mod server;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use orlop::progress::Silent;
use orlop::thin::{LayerUpload, PackedLayer, Patience, Publication, Repository, publish};
use orlop::{Error, ErrorKind, Result};
use orlop_s3::{Config, S3Upload};
use relay::{Relay, Turn};
use server::Server;

const NOW: Patience = Patience { pause: Duration::from_millis(1), limit: Duration::from_secs(60) };

/// A server, what stands before it, and who publishes.
struct Site {
    server: Server,
    relay: Relay,
    publisher: Relay,
}

impl Site {
    /// `None`, having said why, without the server.
    fn new(turns: &[Turn], answers: &[(u16, &'static str)]) -> Option<Self> {
        let server = Server::start()?;
        let relay = Relay::start(&server.socket(), turns);
        let answers: Vec<_> =
            answers.iter().map(|(code, text)| Turn::Answer(*code, text)).collect();
        let publisher = Relay::start(Path::new("/nonexistent"), &answers);
        Some(Self { server, relay, publisher })
    }

    fn config(&self) -> Config {
        Config {
            access_key: server::KEY.to_owned(),
            access_secret: server::SECRET.to_owned(),
            host: self.relay.address(),
            repository: Repository::new("r.example").unwrap(),
            tls: false,
            status_url: format!("http://{}/status", self.publisher.address()),
            region: "us-east-1".to_owned(),
        }
    }

    fn upload(&self) -> S3Upload {
        upload(self.config())
    }

    fn stored(&self, layer: &PackedLayer) -> Option<Vec<u8>> {
        std::fs::read(self.server.bucket().join(layer.digest().hex())).ok()
    }
}

fn upload(config: Config) -> S3Upload {
    S3Upload::new(config).unwrap().with_first_pause(Duration::from_millis(1))
}

fn layer(content: &[u8]) -> PackedLayer {
    PackedLayer::pack(&std::env::temp_dir(), |out| {
        out.write_all(content).map_err(|e| Error::new(ErrorKind::Io, "packing").caused_by(e))
    })
    .unwrap()
}

fn bytes(layer: &PackedLayer) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut layer.content(&Silent), &mut bytes).unwrap();
    bytes
}

fn refused<T>(outcome: Result<T>, says: &str) {
    let Err(e) = outcome else { panic!("accepted: {says}") };
    assert_eq!(e.kind(), ErrorKind::Io, "{e}");
    assert!(e.to_string().contains(says), "{e}");
    assert!(!e.to_string().contains("X-Amz-Signature"), "{e}");
}

#[test]
fn a_layer_is_stored_under_its_digest_and_waited_for() {
    // CVM-20, CVM-21, CVM-22
    let answers = [(200, "publishing"), (200, "publishing\n"), (200, "done")];
    let Some(site) = Site::new(&[], &answers) else { return };
    // More than any buffer on the way, and nothing that compresses.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(3 << 20)
    .collect();
    let layer = layer(&noise);
    let published = publish(&layer, &site.upload(), &NOW, &Silent).unwrap();
    assert_eq!(site.stored(&layer).unwrap(), bytes(&layer));
    let path = format!("layers/{}", layer.digest().hex());
    assert_eq!(published.url.unwrap().to_string(), format!("cvmfs://r.example/{path}"));
    let asked = site.publisher.requests();
    assert_eq!(asked.len(), 3);
    let line = format!("GET /status/{} HTTP/1.1", layer.digest().hex());
    assert!(asked.iter().all(|request| request.starts_with(&line)), "{asked:?}");
    let put = site.relay.requests();
    assert_eq!(put.len(), 1);
    assert!(put[0].to_lowercase().contains("content-type: application/x-gzip"), "{}", put[0]);
    assert!(!put[0].contains(server::SECRET));
    // Once more is the same again.
    site.upload().put(&layer, &Silent).unwrap();
}

#[test]
fn a_wrong_secret_is_refused_at_once_and_nothing_stored() {
    // CVM-20
    let Some(site) = Site::new(&[], &[]) else { return };
    let layer = layer(b"x");
    let wrong = Config { access_secret: "wrong".to_owned(), ..site.config() };
    refused(upload(wrong).put(&layer, &Silent), "SignatureDoesNotMatch");
    let nobody = Config { access_key: "nobody".to_owned(), ..site.config() };
    refused(upload(nobody).put(&layer, &Silent), "access key");
    assert_eq!(site.stored(&layer), None);
    assert_eq!(site.relay.requests().len(), 2, "neither is tried again");
    site.upload().put(&layer, &Silent).unwrap();
    assert!(site.stored(&layer).is_some());
}

#[test]
fn a_layer_is_sent_again_when_the_way_fails() {
    // CVM-20: five tries
    use Turn::{Answer, Hang, Pass};
    let turns = [Answer(503, "slow down"), Hang, Answer(500, ""), Answer(429, ""), Pass];
    let Some(site) = Site::new(&turns, &[]) else { return };
    let layer = layer(b"x");
    site.upload().put(&layer, &Silent).unwrap();
    assert_eq!(site.stored(&layer).unwrap(), bytes(&layer));
    assert_eq!(site.relay.requests().len(), 5);
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    // CVM-20
    let Some(site) = Site::new(&[Turn::Answer(503, "no room"); 9], &[]) else { return };
    let layer = layer(b"x");
    refused(site.upload().put(&layer, &Silent), "503 Service Unavailable: no room (5 tries)");
    assert_eq!(site.relay.requests().len(), 5);
    assert_eq!(site.stored(&layer), None);
    // Nobody there at all.
    let away = Config { host: closed(), ..site.config() };
    refused(upload(away).put(&layer, &Silent), "(5 tries)");
    // Nor is a redirection followed: the signature is for this host.
    let site = Site::new(&[Turn::Answer(307, "elsewhere")], &[]).unwrap();
    refused(site.upload().put(&layer, &Silent), "307");
}

/// An address of this host where nobody listens.
fn closed() -> String {
    // Port 1 is reserved (tcpmux), and no test can be given it.
    "127.0.0.1:1".to_owned()
}

#[test]
fn content_that_changes_on_the_way_is_refused() {
    // CVM-20: the name is the digest of what is stored
    let Some(site) = Site::new(&[Turn::Damage; 9], &[]) else { return };
    let layer = layer(b"a layer of some length");
    assert!(site.upload().put(&layer, &Silent).is_err());
    assert_eq!(site.stored(&layer), None);
}

#[test]
fn every_answer_but_the_three_is_a_failure() {
    // CVM-21
    let answers = [
        (200, "publishing"),
        (200, "done"),
        (200, "unknown"),
        (200, "failed"),
        (200, ""),
        (201, "done"),
        (302, "done"),
        (404, "done"),
        (500, "out of order"),
    ];
    let Some(site) = Site::new(&[], &answers) else { return };
    let (upload, layer) = (site.upload(), layer(b"x"));
    for expected in [Publication::Publishing, Publication::Done, Publication::Unknown] {
        assert_eq!(upload.status(layer.digest()).unwrap(), expected);
    }
    for says in
        ["\"failed\"", "\"\"", "201", "302", "404", "500 Internal Server Error: out of order"]
    {
        refused(upload.status(layer.digest()), says);
    }
    let away = Config { status_url: format!("http://{}", closed()), ..site.config() };
    refused(self::upload(away).status(layer.digest()), "what has become of a layer");
    // A publisher that has lost the layer ends the whole.
    let site = Site::new(&[], &[(200, "publishing"), (200, "unknown")]).unwrap();
    refused(publish(&layer, &site.upload(), &NOW, &Silent), "knows nothing of it");
}

#[test]
fn a_publisher_that_does_not_answer_is_not_waited_for() {
    // CVM-21: two seconds
    let Some(site) = Site::new(&[], &[]) else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let config = Config { status_url: format!("http://{address}"), ..site.config() };
    refused(upload(config).status(layer(b"x").digest()), "timeout");
}

#[test]
fn what_is_stored_unpacks_to_the_layer_with_its_whiteouts() {
    // CVM-20, 18.3: deletions go as names, not as devices
    if !is_root() {
        println!("skipped: unpacking whiteouts: needs root");
        return;
    }
    let Some(site) = Site::new(&[], &[(200, "done")]) else { return };
    let tree = tempfile::tempdir_in("/var/tmp").unwrap();
    let upper = tree.path().join("upper");
    std::fs::create_dir(&upper).unwrap();
    std::fs::write(upper.join("kept"), "k").unwrap();
    let made = Command::new("mknod").arg(upper.join("gone")).args(["c", "0", "0"]).status();
    assert!(made.unwrap().success());
    let open = std::fs::File::open(&upper).unwrap();
    let layer = PackedLayer::pack(tree.path(), |out| {
        use std::os::fd::AsFd;
        let upper =
            orlop::archive::Upper { own: open.as_fd(), lowers: &[], prefix: "trusted.overlay." };
        orlop::archive::pack_upper(&upper, &Default::default(), out)
    })
    .unwrap();
    publish(&layer, &site.upload(), &NOW, &Silent).unwrap();
    let out = tree.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let stored = site.server.bucket().join(layer.digest().hex());
    let unpacked = Command::new("tar").arg("-xzf").arg(stored).arg("-C").arg(&out).status();
    assert!(unpacked.unwrap().success());
    assert_eq!(std::fs::read_to_string(out.join("kept")).unwrap(), "k");
    assert!(out.join(".wh.gone").is_file() && !out.join("gone").exists());
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

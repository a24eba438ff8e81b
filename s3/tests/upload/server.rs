//! A real server, which checks signatures.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const KEY: &str = "ann";
pub(crate) const SECRET: &str = "a-secret-of-ann";

/// The server, with an empty bucket; it ends with this value.
pub(crate) struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    /// `None`, having said why, where the program has not been built.
    pub(crate) fn start() -> Option<Self> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/test/versitygw");
        if !built.exists() {
            println!("skipped: a server of the S3 protocol: make s3-server builds it");
            return None;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        for name in ["buckets/layers", "about"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(built)
            .env_clear()
            .args(["--access", KEY, "--secret", SECRET, "--quiet", "--port"])
            .arg(dir.path().join("socket"))
            .args(["posix", "--sidecar"])
            .arg(dir.path().join("about"))
            .arg(dir.path().join("buckets"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self { child, dir };
        server.wait();
        Some(server)
    }

    /// Until it answers.
    fn wait(&mut self) {
        let begin = Instant::now();
        while !self.answers() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(begin.elapsed() < Duration::from_secs(120), "no answer: {}", log());
            if let Some(ended) = self.child.try_wait().unwrap() {
                panic!("{ended}: {}", log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return false };
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read(&mut [0; 16]).is_ok_and(|n| n > 0)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.dir.path().join("buckets/layers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

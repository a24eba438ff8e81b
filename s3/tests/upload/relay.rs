//! What stands before a server, and fails when told to: one request for each connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    /// The server has it.
    Pass,
    /// The server has it with another last byte.
    Damage,
    /// It is answered here: a status, and a text.
    Answer(u16, &'static str),
    /// The answer is these bytes, and the connection ends after them.
    Bytes(&'static str),
    /// The connection ends in the middle of the content.
    Hang,
    /// It is answered here as by who publishes: whether the server's path has a file of the name that is asked for.
    Tell,
}

/// Listens on the loopback address until the process ends.
pub(crate) struct Relay {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// Takes one turn after the other, and passes what comes after them.
    pub(crate) fn start(server: &Path, turns: &[Turn]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (server, turns, seen) = (server.to_path_buf(), turns.to_vec(), Arc::clone(&heads));
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let turn = turns.get(n).copied().unwrap_or(Turn::Pass);
                // A client that goes away is what some tests are about.
                let _ = stream.and_then(|stream| serve(stream, turn, &server, &seen));
            }
        });
        Self { address, heads }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(
    mut client: TcpStream,
    turn: Turn,
    server: &PathBuf,
    heads: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    heads.lock().unwrap().push(head.clone());
    if let Turn::Hang = turn {
        reader.read_exact(&mut vec![0; length / 2])?;
        return Ok(());
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content)?;
    match turn {
        Turn::Answer(code, text) => return answer(&mut client, code, text),
        Turn::Bytes(bytes) => return client.write_all(bytes.as_bytes()),
        Turn::Tell => {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let is_there = path.rsplit('/').next().is_some_and(|name| server.join(name).is_file());
            return answer(&mut client, 200, if is_there { "done" } else { "unknown" });
        }
        Turn::Damage => {
            if let Some(last) = content.last_mut() {
                *last ^= 1;
            }
        }
        Turn::Pass | Turn::Hang => {}
    }
    let mut server = UnixStream::connect(server)?;
    // One request for each connection, so that each one takes its turn.
    write!(server, "{head}connection: close\r\n\r\n")?;
    server.write_all(&content)?;
    io::copy(&mut server, &mut client).map(drop)
}

fn answer(client: &mut TcpStream, code: u16, text: &str) -> io::Result<()> {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {code} x\r\ncontent-length: {length}\r\nlocation: /x\r\nconnection: close\r\n\r\n{text}"
    );
    client.write_all(answer.as_bytes())
}

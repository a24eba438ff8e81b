//! Tar archives that no honest writer makes.

/// A tar in the making.
#[derive(Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// A header with these fields, `size` whatever the content has, and the content.
    pub fn raw(mut self, name: &str, kind: u8, link: &str, size: &str, content: &[u8]) -> Self {
        let mut block = [0u8; 512];
        let mut put = |at: usize, text: &str| {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, name);
        put(100, if kind == b'5' { "0000755" } else { "0000644" });
        put(108, "0000000");
        put(116, "0000000");
        put(124, size);
        put(136, "14000000000");
        put(157, link);
        put(257, "ustar\x0000");
        block[156] = kind;
        self.0.extend_from_slice(&summed(block));
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn add(self, name: &str, kind: u8, link: &str, content: &[u8]) -> Self {
        if name.len() > 100 {
            let long = format!("{name}\0");
            return self.add("././@LongLink", b'L', "", long.as_bytes()).add(
                &name[..100],
                kind,
                link,
                content,
            );
        }
        self.raw(name, kind, link, &format!("{:011o}", content.len()), content)
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.add(name, b'0', "", content.as_bytes())
    }

    pub fn dir(self, name: &str) -> Self {
        self.add(name, b'5', "", b"")
    }

    /// A directory with that mode.
    pub fn dir_of_mode(self, name: &str, mode: u32) -> Self {
        let Self(mut bytes) = self.dir(name);
        let at = bytes.len() - 512;
        let mut block = [0; 512];
        block.copy_from_slice(&bytes[at..]);
        block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        bytes[at..].copy_from_slice(&summed(block));
        Self(bytes)
    }

    pub fn link(self, name: &str, kind: u8, target: &str) -> Self {
        self.add(name, kind, target, b"")
    }

    /// A PAX header with these records for the member that follows.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let text: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.add("PaxHeaders.0/x", b'x', "", &text)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn summed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A tar of regular files; a name that ends in `/` is a directory.
pub fn files(members: &[(&str, &[u8])]) -> Vec<u8> {
    let add = |tar: Tar, (name, content): &(&str, &[u8])| {
        tar.add(name, if name.ends_with('/') { b'5' } else { b'0' }, "", content)
    };
    members.iter().fold(Tar::default(), add).end()
}

//! Kinds of file systems by their magic numbers (statfs(2), `overlay-driver.md` 4.1).

/// Network file systems, where a user without the rights of the machine's root cannot keep owners and modes, and where locks, short
/// renames or whiteouts cannot be relied upon.
pub(super) const NETWORK: [(u64, &str); 19] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0x6163_6673, "acfs"),
    (0x5346_414f, "afs"),
    (0x00c3_6400, "ceph"),
    (0xff53_4d42, "cifs"),
    (0x4750_4653, "gpfs"),
    (0x0131_11a8, "ibrix"),
    (0x6b41_4653, "kafs"),
    (0x0bd0_0bd0, "lustre"),
    (0x564c, "ncp"),
    (0x6e66_7364, "nfsd"),
    (0x7461_636f, "ocfs2"),
    (0xaad7_aaea, "panfs"),
    (0x7c7c_6673, "prl"),
    (0xfe53_4d42, "smb2"),
    (0xbeef_dead, "snfs"),
    (0x786f_4256, "vboxsf"),
    (0xa501_fcf5, "vxfs"),
];

#[cfg(test)]
mod tests {
    use super::NETWORK;

    #[test]
    fn numbers_are_those_of_the_specification() {
        let text = include_str!("../../docs/spec/overlay-driver.md");
        let text = text.to_ascii_lowercase();
        for (magic, name) in NETWORK {
            let found = [format!("{name} 0x{magic:x}"), format!("{name} 0x{magic:08x}")];
            assert!(found.iter().any(|f| text.contains(f)), "{found:?}");
        }
    }
}

//! Any byte string that parses survives the round trip; what does not parse is an error, never a panic.
// The lints leave tests alone, but not the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::io::Read;

use proptest::collection::vec;
use proptest::prelude::*;
use tar_split_rs::{Disassembler, Error, Member};

use support::generate::{damaged, stream};
use support::*;

/// The members and payloads of the stream, as [`disassemble`] gives them, without a log.
fn read_only(tar: &[u8]) -> Result<(Vec<Member>, Vec<Vec<u8>>), ()> {
    let (mut members, mut payloads) = (Vec::new(), Vec::new());
    let mut reader = Disassembler::without_log(tar);
    while let Some(member) = reader.next_member().map_err(drop)? {
        let mut payload = Vec::new();
        let limit = if member.sparse.is_some() { 1 << 20 } else { u64::MAX };
        (&mut reader).take(limit).read_to_end(&mut payload).map_err(drop)?;
        members.push(member);
        payloads.push(payload);
    }
    reader.finish().map_err(drop)?;
    Ok((members, payloads))
}

/// Whether the stream came apart; if so it has come together again too.
fn round_trip(tar: &[u8]) -> Result<bool, TestCaseError> {
    let skimmed = skim(tar);
    let parts = match disassemble(tar) {
        Ok(parts) => parts,
        Err(error) => {
            prop_assert!(skimmed.is_err(), "only an error when payloads are read: {error}");
            prop_assert!(read_only(tar).is_err(), "only an error with a log: {error}");
            return Ok(false);
        }
    };
    prop_assert_eq!(&reassemble(&parts.log, &parts.contents).unwrap(), tar);
    prop_assert_eq!(&reassemble(&skimmed.unwrap(), &parts.contents).unwrap(), tar);
    prop_assert_eq!(read_only(tar), Ok((parts.members.clone(), parts.payloads.clone())));
    for (member, payload) in parts.members.iter().zip(&parts.payloads) {
        prop_assert_eq!(payload.len() as u64, member.size.min(1 << 20));
    }
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn well_formed_streams(tar in stream()) {
        if !round_trip(&tar)? {
            let error = disassemble(&tar).unwrap_err();
            // What the generator does not avoid: the same name twice, payloads of x, g and S members
            // that are no records or map, PAX records that are no times.
            let expected = matches!(error, Error::DuplicateName { .. } | Error::Malformed { .. });
            prop_assert!(expected, "{}", error);
        }
    }

    #[test]
    fn damaged_streams(tar in damaged()) {
        round_trip(&tar)?;
    }

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..3000)) {
        // Only zeros parse, and nothing.
        let parses = bytes.is_empty();
        prop_assert!(round_trip(&bytes)? == parses || bytes.iter().take(512).all(|&b| b == 0));
    }

    #[test]
    fn random_logs(lines in vec(log_line(), 0..6)) {
        let mut log = lines.join(&b'\n');
        let _ = reassemble(&log, &Contents::new());
        log.truncate(log.len() / 2);
        let _ = reassemble(&log, &Contents::new());
    }
}

fn log_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..100),
        ("[0-3]", "[a-c]{0,2}", "-?[0-9]{1,20}", "[A-D+/=]{0,9}").prop_map(
            |(kind, name, size, payload)| {
                format!(r#"{{"type":{kind},"name":"{name}","size":{size},"payload":"{payload}"}}"#)
                    .into_bytes()
            }
        ),
    ]
}

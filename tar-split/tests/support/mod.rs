//! What the tests share: taking apart and putting together in memory, and making streams by hand.
#![allow(dead_code, missing_docs)]

pub(crate) mod generate;
pub(crate) mod tools;

use std::collections::HashMap;
use std::io::{self, Cursor, Read};

use tar_split_rs::{Disassembler, Error, Member, assemble};

pub(crate) type Contents = HashMap<Vec<u8>, Vec<u8>>;

/// Everything that taking a stream apart gives.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) members: Vec<Member>,
    /// What reading each member gave, of sparse members at most a MiB.
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) contents: Contents,
    pub(crate) log: Vec<u8>,
}

pub(crate) fn disassemble(tar: &[u8]) -> Result<Parts, Error> {
    disassemble_from(tar)
}

pub(crate) fn disassemble_from(tar: impl Read) -> Result<Parts, Error> {
    let mut parts = Parts {
        members: Vec::new(),
        payloads: Vec::new(),
        contents: Contents::new(),
        log: Vec::new(),
    };
    let mut disassembler = Disassembler::new(tar, &mut parts.log);
    while let Some(member) = disassembler.next_member()? {
        let mut payload = Vec::new();
        let limit = if member.sparse.is_some() { 1 << 20 } else { u64::MAX };
        if let Err(e) = (&mut disassembler).take(limit).read_to_end(&mut payload) {
            return Err(*e.into_inner().unwrap().downcast().unwrap());
        }
        if member.sparse.is_none() {
            parts.contents.insert(member.name.clone(), payload.clone());
        }
        parts.members.push(member);
        parts.payloads.push(payload);
    }
    disassembler.finish()?;
    Ok(parts)
}

/// Takes a stream apart without looking at any payload.
pub(crate) fn skim(tar: &[u8]) -> Result<Vec<u8>, Error> {
    let (rest, log) = Disassembler::new(tar, Vec::new()).finish()?;
    assert!(rest.is_empty());
    Ok(log)
}

pub(crate) fn reassemble(log: &[u8], contents: &Contents) -> Result<Vec<u8>, Error> {
    let mut tar = Vec::new();
    let length = assemble(
        log,
        &|name| match contents.get(name) {
            Some(content) => Ok(Box::new(Cursor::new(content))),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        &mut tar,
    )?;
    assert_eq!(length, tar.len() as u64);
    Ok(tar)
}

/// Writes the checksum of a header block.
pub(crate) fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A header block with a ustar magic.
pub(crate) fn header(name: &[u8], type_flag: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0001750\0");
    block[116..124].copy_from_slice(b"0001751\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"14000000000\0");
    block[156] = type_flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// The same with GNU's magic.
pub(crate) fn gnu_header(name: &[u8], type_flag: u8, size: u64) -> [u8; 512] {
    let mut block = header(name, type_flag, size);
    block[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut block);
    block
}

/// Changes a header, and makes its checksum right again.
pub(crate) fn edit(mut block: [u8; 512], change: impl FnOnce(&mut [u8; 512])) -> [u8; 512] {
    change(&mut block);
    seal(&mut block);
    block
}

pub(crate) fn pad(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A header and its payload, padded.
pub(crate) fn member(header: [u8; 512], payload: &[u8]) -> Vec<u8> {
    [&header[..], &pad(payload.to_vec())].concat()
}

pub(crate) fn file(name: &[u8], payload: &[u8]) -> Vec<u8> {
    member(header(name, b'0', payload.len() as u64), payload)
}

pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = [b" ", key, b"=", value, b"\n"].concat();
    let mut length = body.len();
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &body].concat()
}

/// A PAX extended header (`x`) or global header (`g`).
pub(crate) fn pax(type_flag: u8, records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    member(header(b"PaxHeaders/x", type_flag, data.len() as u64), &data)
}

/// GNU's long name (`L`) or long link (`K`).
pub(crate) fn gnu_long(type_flag: u8, name: &[u8]) -> Vec<u8> {
    let data = [name, b"\0"].concat();
    member(gnu_header(b"././@LongLink", type_flag, data.len() as u64), &data)
}

/// A sparse member in GNU's old format, from its extents and expanded size.
pub(crate) fn old_sparse(name: &[u8], map: &[(u64, &[u8])], size: u64) -> Vec<u8> {
    let data: Vec<u8> = map.iter().flat_map(|(_, data)| data.to_vec()).collect();
    let descriptors: Vec<_> = map
        .iter()
        .map(|(offset, data)| format!("{offset:011o}\0{:011o}\0", data.len()).into_bytes())
        .collect();
    let (first, rest) = descriptors.split_at(descriptors.len().min(4));
    let head = edit(gnu_header(name, b'S', data.len() as u64), |block| {
        for (i, descriptor) in first.iter().enumerate() {
            block[386 + 24 * i..][..24].copy_from_slice(descriptor);
        }
        block[482] = u8::from(!rest.is_empty());
        block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    });
    let mut out = head.to_vec();
    let blocks = rest.chunks(21).count();
    for (i, chunk) in rest.chunks(21).enumerate() {
        let mut block = chunk.concat();
        block.resize(512, 0);
        block[504] = u8::from(i + 1 < blocks);
        out.extend(block);
    }
    out.extend(pad(data));
    out
}

pub(crate) const END: [u8; 1024] = [0; 1024];

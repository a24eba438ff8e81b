//! Takes a tar stream apart and puts the very same bytes together again, in the tar-split file format.

mod assemble;
mod disassemble;
mod error;
mod header;
mod member;
mod names;
mod number;
mod pax;
mod record;
mod sparse;

pub use assemble::{OpenContent, assemble};
pub use disassemble::Disassembler;
pub use error::Error;
pub use member::{Extent, Member, MemberKind, Time};

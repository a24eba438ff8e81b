//! What a store must withstand: damage to any of its files, and archives, images and removals made to break out of it or to wear
//! the machine out. All through the command, on the kernel's overlay, with canaries around the store.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod archives;
mod bombs;
mod damage;
mod ground;
mod images;
mod removal;
mod tar;

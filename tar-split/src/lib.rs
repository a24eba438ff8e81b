//! Takes a tar stream apart and puts the very same bytes together again, in the tar-split file format.

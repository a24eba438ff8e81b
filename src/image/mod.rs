//! Images in and out of a store: OCI layouts, OCI archives, docker archives.

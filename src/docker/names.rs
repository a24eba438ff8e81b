//! Docker's names of images, as stores write them.

use crate::Result;
use crate::image::Reference;

/// The whole name for one that docker may have shortened: `busybox:1` is `docker.io/library/busybox:1`.
///
/// That is what the name means to docker, be the image pulled or built here; podman finds it by the short name, too.
pub(super) fn complete(name: &str) -> Result<String> {
    Ok(Reference::parse_docker(name)?.with_default_tag().to_string())
}

/// The whole names for those that docker has; one that is malformed is left out, which the log says.
pub(super) fn complete_all(names: &[String]) -> Vec<String> {
    let complete = |name: &String| {
        complete(name)
            .inspect_err(|e| tracing::warn!("the name {name:?} of docker is passed over: {e}"))
            .ok()
    };
    names.iter().filter_map(complete).collect()
}

/// The name of the image that is made of a container.
pub(super) fn of_container(name: &str, tag: &str) -> Result<String> {
    Reference::parse_docker(&format!("localhost/{}:{tag}", name.to_lowercase()))
        .map(|name| name.to_string())
}

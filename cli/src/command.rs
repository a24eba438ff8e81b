//! The commands: their names, how the command line becomes one of them, and who carries it out.

use std::ffi::OsString;

use clap::builder::TypedValueParser;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::data::{self, Kind};
use crate::global::{Context, GlobalArgs};
use crate::typed::Typed;
use crate::{
    create, dedup, delete, diffs, docker, doctor, images, list, migrate, mounts, names, owners,
    store, unshare,
};

/// What a command comes to: the exit code, or an error (then the code is 1).
pub(crate) type Outcome = anyhow::Result<u8>;

#[derive(Parser)]
#[command(
    name = "orlop",
    version = concat!(env!("CARGO_PKG_VERSION")),
    about = "Container storage: layers, images and containers, shared with podman, buildah, skopeo and CRI-O",
    disable_help_subcommand = true,
    subcommand_required = true
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// One command with its flags and arguments.
#[derive(Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Load images from a docker archive, an OCI archive or an OCI layout folder
    Load(images::Load),
    /// Save images to an archive or an OCI layout folder
    Save(images::Save),
    /// Make an image of a container's present content
    Commit(images::Commit),
    /// List what a docker daemon keeps in its data root
    Docker(docker::Docker),
    /// Take images over from docker's data root, or turn a store of 2016's layout into one of today's
    Migrate(migrate::Migrate),
    /// Make thin images, whose layers lie in a CernVM-FS repository
    #[cfg(feature = "thin")]
    Thin(crate::thin::Thin),
    /// Examine what kernel, file system, user and configuration can do for the store, and what to change
    Doctor(doctor::Doctor),
    /// Create a new layer
    #[command(alias = "createlayer")]
    CreateLayer(create::CreateLayer),
    /// Import a new layer
    #[command(alias = "importlayer")]
    ImportLayer(create::ImportLayer),
    /// Create a new image using layers
    #[command(alias = "createimage")]
    CreateImage(create::CreateImage),
    /// Create a new container from an image
    #[command(alias = "createcontainer")]
    CreateContainer(create::CreateContainer),
    /// List layers
    Layers(list::Layers),
    /// Examine a layer
    Layer(list::Examine),
    /// Find the owners above a layer's mount point whom its id maps do not know
    LayerParentOwners(owners::ParentOwners),
    /// List the layers that the driver has
    StorageLayers(list::StorageLayers),
    /// List images
    Images(list::Images),
    /// List images by digest
    ImagesByDigest(list::ImagesByDigest),
    /// Examine an image
    Image(list::Examine),
    /// List containers
    Containers(list::Containers),
    /// Examine a container
    Container(list::Examine),
    /// Find the owners above a container's mount point whom its layer's id maps do not know
    ContainerParentOwners(owners::ParentOwners),
    /// Check if a layer or image or container exists
    Exists(names::Exists),
    /// Retrieve layer, image, or container metadata
    Metadata(names::Metadata),
    /// Set layer, image, or container metadata
    #[command(alias = "setmetadata")]
    SetMetadata(names::SetMetadata),
    /// Get layer, image, or container name or names
    #[command(alias = "getnames")]
    GetNames(names::GetNames),
    /// Add layer, image, or container name or names
    #[command(alias = "addnames")]
    AddNames(names::ChangeNames),
    /// Remove layer, image, or container name or names
    #[command(alias = "removenames")]
    RemoveNames(names::ChangeNames),
    /// Set layer, image, or container name or names
    #[command(alias = "setnames")]
    SetNames(names::ChangeNames),
    /// List data items that are attached to a layer
    #[command(alias = "listlayerdata")]
    ListLayerData(data::ListItems),
    /// Get data that is attached to a layer
    #[command(alias = "getlayerdata")]
    GetLayerData(data::GetItem),
    /// Set data that is attached to a layer
    #[command(alias = "setlayerdata")]
    SetLayerData(data::SetItem),
    /// List data items that are attached to an image
    #[command(alias = "listimagedata")]
    ListImageData(data::ListItems),
    /// Get data that is attached to an image
    #[command(alias = "getimagedata")]
    GetImageData(data::GetItem),
    /// Get size of data that is attached to an image
    #[command(alias = "getimagedatasize")]
    GetImageDataSize(data::Item),
    /// Get digest of data that is attached to an image
    #[command(alias = "getimagedatadigest")]
    GetImageDataDigest(data::Item),
    /// Set data that is attached to an image
    #[command(alias = "setimagedata")]
    SetImageData(data::SetItem),
    /// Find the image's associated data directory
    #[command(alias = "getimagedir")]
    GetImageDir(data::Directory),
    /// Find the image's associated runtime directory
    #[command(alias = "getimagerundir")]
    GetImageRunDir(data::Directory),
    /// List data items that are attached to a container
    #[command(alias = "listcontainerdata")]
    ListContainerData(data::ListItems),
    /// Get data that is attached to a container
    #[command(alias = "getcontainerdata")]
    GetContainerData(data::GetItem),
    /// Get size of data that is attached to a container
    #[command(alias = "getcontainerdatasize")]
    GetContainerDataSize(data::Item),
    /// Get digest of data that is attached to a container
    #[command(alias = "getcontainerdatadigest")]
    GetContainerDataDigest(data::Item),
    /// Set data that is attached to a container
    #[command(alias = "setcontainerdata")]
    SetContainerData(data::SetItem),
    /// Find the container's associated data directory
    #[command(alias = "getcontainerdir")]
    GetContainerDir(data::Directory),
    /// Find the container's associated runtime directory
    #[command(alias = "getcontainerrundir")]
    GetContainerRunDir(data::Directory),
    /// Mount a layer or container
    Mount(mounts::Mount),
    /// Unmount an image, layer or container
    #[command(alias = "umount")]
    Unmount(mounts::Unmount),
    /// Check if a file system is mounted
    Mounted(mounts::Mounted),
    /// List the paths that differ between two layers
    Changes(diffs::Changes),
    /// Write a layer's content as a tar stream
    Diff(diffs::Diff),
    /// Estimate the size of a layer's changes
    #[command(alias = "diff-size")]
    Diffsize(diffs::DiffSize),
    /// Apply a diff to a layer
    #[command(name = "applydiff", alias = "apply-diff")]
    ApplyDiff(diffs::ApplyDiff),
    /// Delete a layer or image or container, with no safety checks
    Delete(delete::Delete),
    /// Delete a layer, with safety checks
    #[command(alias = "deletelayer")]
    DeleteLayer(delete::Delete),
    /// Delete an image, with safety checks
    #[command(alias = "deleteimage")]
    DeleteImage(delete::DeleteImage),
    /// Delete a container, with safety checks
    #[command(alias = "deletecontainer")]
    DeleteContainer(delete::Delete),
    /// Remove data and layers that have no record
    Gc(store::Gc),
    /// Dedup all images
    Dedup(dedup::Dedup),
    /// Check on graph driver status
    Status(store::Status),
    /// Return version information
    Version(store::Version),
    /// Print storage library configuration as JSON
    Config(store::Config),
    /// Shut down layer storage
    Shutdown(store::Shutdown),
    /// Wipe all layers, images, and containers
    Wipe(store::Wipe),
    /// Run a command in a user namespace
    Unshare(unshare::Unshare),
}

impl Command {
    /// Carries the command out.
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        match self {
            Self::Load(args) => args.run(cx),
            Self::Save(args) => args.run(cx),
            Self::Commit(args) => args.run(cx),
            Self::Docker(args) => args.run(cx),
            Self::Migrate(args) => args.run(cx),
            #[cfg(feature = "thin")]
            Self::Thin(args) => args.run(cx),
            Self::Doctor(args) => args.run(cx),
            Self::CreateLayer(args) => args.run(cx),
            Self::ImportLayer(args) => args.run(cx),
            Self::CreateImage(args) => args.run(cx),
            Self::CreateContainer(args) => args.run(cx),
            Self::Layers(args) => args.run(cx),
            Self::Layer(args) => args.layers(cx),
            Self::LayerParentOwners(args) => args.layers(cx),
            Self::StorageLayers(args) => args.run(cx),
            Self::Images(args) => args.run(cx),
            Self::ImagesByDigest(args) => args.run(cx),
            Self::Image(args) => args.images(cx),
            Self::Containers(args) => args.run(cx),
            Self::Container(args) => args.containers(cx),
            Self::ContainerParentOwners(args) => args.containers(cx),
            Self::Exists(args) => args.run(cx),
            Self::Metadata(args) => args.run(cx),
            Self::SetMetadata(args) => args.run(cx),
            Self::GetNames(args) => args.run(cx),
            Self::AddNames(args) => args.run(cx, orlop::store::Store::add_names),
            Self::RemoveNames(args) => args.run(cx, orlop::store::Store::remove_names),
            Self::SetNames(args) => args.run(cx, orlop::store::Store::set_names),
            Self::ListLayerData(args) => args.run(cx, Kind::Layer),
            Self::GetLayerData(args) => args.run(cx, Kind::Layer),
            Self::SetLayerData(args) => args.run(cx, Kind::Layer),
            Self::ListImageData(args) => args.run(cx, Kind::Image),
            Self::GetImageData(args) => args.run(cx, Kind::Image),
            Self::GetImageDataSize(args) => args.size(cx, Kind::Image),
            Self::GetImageDataDigest(args) => args.digest(cx, Kind::Image),
            Self::SetImageData(args) => args.run(cx, Kind::Image),
            Self::GetImageDir(args) => args.run(cx, orlop::store::Store::image_dir),
            Self::GetImageRunDir(args) => args.run(cx, orlop::store::Store::image_run_dir),
            Self::ListContainerData(args) => args.run(cx, Kind::Container),
            Self::GetContainerData(args) => args.run(cx, Kind::Container),
            Self::GetContainerDataSize(args) => args.size(cx, Kind::Container),
            Self::GetContainerDataDigest(args) => args.digest(cx, Kind::Container),
            Self::SetContainerData(args) => args.run(cx, Kind::Container),
            Self::GetContainerDir(args) => args.run(cx, orlop::store::Store::container_dir),
            Self::GetContainerRunDir(args) => args.run(cx, orlop::store::Store::container_run_dir),
            Self::Mount(args) => args.run(cx),
            Self::Unmount(args) => args.run(cx),
            Self::Mounted(args) => args.run(cx),
            Self::Changes(args) => args.run(cx),
            Self::Diff(args) => args.run(cx),
            Self::Diffsize(args) => args.run(cx),
            Self::ApplyDiff(args) => args.run(cx),
            Self::Delete(args) => args.run(cx, orlop::store::Store::delete),
            Self::DeleteLayer(args) => args.run(cx, orlop::store::Store::delete_layer),
            Self::DeleteImage(args) => args.run(cx),
            Self::DeleteContainer(args) => args.run(cx, orlop::store::Store::delete_container),
            Self::Gc(args) => args.run(cx),
            Self::Dedup(args) => args.run(cx),
            Self::Status(args) => args.run(cx),
            Self::Version(args) => args.run(cx),
            Self::Config(args) => args.run(cx),
            Self::Shutdown(args) => args.run(cx),
            Self::Wipe(args) => args.run(cx),
            Self::Unshare(args) => args.run(cx),
        }
    }

    /// Whether the command only reads records, which their owner can do without being root of a namespace.
    pub(crate) fn reads_records(&self) -> bool {
        matches!(
            self,
            // That, and how the user stands.
            Self::Doctor(_)
                // No store at all.
                | Self::Docker(_)
                | Self::Layers(_)
                | Self::Images(_)
                | Self::ImagesByDigest(_)
                | Self::Containers(_)
                | Self::Exists(_)
                | Self::Metadata(_)
                | Self::GetNames(_)
                | Self::ListLayerData(_)
                | Self::GetLayerData(_)
                | Self::ListImageData(_)
                | Self::GetImageData(_)
                | Self::GetImageDataSize(_)
                | Self::GetImageDataDigest(_)
                | Self::ListContainerData(_)
                | Self::GetContainerData(_)
                | Self::GetContainerDataSize(_)
                | Self::GetContainerDataDigest(_)
                | Self::Mounted(_)
                | Self::Version(_)
                | Self::Config(_)
        )
    }
}

/// Understands the command line; the global flags are taken before and after the command's name.
///
/// # Errors
/// [`crate::usage::report`] puts them into words.
pub(crate) fn parse(typed: &Typed) -> Result<(GlobalArgs, Command), clap::Error> {
    let matches = quick_surface(typed).try_get_matches_from(typed.words())?;
    let Cli { mut global, command } = Cli::from_arg_matches(&matches)?;
    if let Some((_, after)) = matches.subcommand() {
        global.add(GlobalArgs::from_arg_matches(after)?);
    }
    Ok((global, command))
}

/// The help text of a command, or of the program.
pub(crate) fn help(command: Option<&str>) -> String {
    let mut surface = surface();
    surface.build();
    let found = command.and_then(|name| surface.find_subcommand_mut(name).cloned());
    found.unwrap_or(surface).render_help().to_string()
}

/// The command's arguments that are no flags, for a command line that has too many of them.
pub(crate) fn operands(typed: &Typed) -> Vec<String> {
    const ALL: &str = "operands";
    let mut surface = forgiving(surface());
    let name = typed.command().unwrap_or_default();
    let Some(command) = surface.find_subcommand_mut(name) else { return Vec::new() };
    let flags = command.get_arguments().filter(|arg| !arg.is_positional());
    let any_number = clap::Command::new("any-number")
        .no_binary_name(true)
        .args_override_self(true)
        .args(flags)
        .arg(Arg::new(ALL).num_args(0..));
    let Ok(matches) = any_number.try_get_matches_from(typed.after_command()) else {
        return Vec::new();
    };
    matches.get_many(ALL).into_iter().flatten().cloned().collect()
}

/// The whole surface, as help shows it.
fn surface() -> clap::Command {
    Cli::command()
        .args_override_self(true)
        .mut_subcommands(|command| with_global_flags(undeferred(command)))
}

/// What `forgiving(surface())` is, but that of the commands only the one that is given has its flags: to make those of all took
/// half of the time of a short command.
fn quick_surface(typed: &Typed) -> clap::Command {
    let surface = Cli::command().args_override_self(true).mut_args(forgive);
    let given = typed.command().and_then(|name| surface.find_subcommand(name));
    match given.map(|command| command.get_name().to_owned()) {
        Some(name) => surface.mut_subcommand(name, |command| {
            with_global_flags(undeferred(command)).mut_args(forgive)
        }),
        None => surface,
    }
}

/// The command with the flags and arguments that it would get once it is given.
fn undeferred(command: clap::Command) -> clap::Command {
    let mut built = command.clone();
    built.build();
    let own = built.get_arguments().filter(|arg| arg.get_id() != "help").cloned();
    command.defer(|command| command).args(own).groups(built.get_groups().cloned())
}

fn with_global_flags(command: clap::Command) -> clap::Command {
    // Adding flags puts their group's description in place of the command's.
    let about = command.get_about().cloned().unwrap_or_default();
    GlobalArgs::augment_args(command).args_override_self(true).about(about)
}

/// Takes what Go's flags take besides: a value that begins with a dash, and `--flag=true` for a flag without value.
fn forgiving(surface: clap::Command) -> clap::Command {
    surface.mut_args(forgive).mut_subcommands(|command| command.mut_args(forgive))
}

fn forgive(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(GoBool),
        ArgAction::Set | ArgAction::Append if !arg.is_positional() => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

/// A boolean in Go's spellings.
#[derive(Clone)]
pub(crate) struct GoBool;

impl TypedValueParser for GoBool {
    type Value = bool;

    fn parse_ref(
        &self,
        _: &clap::Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<bool, clap::Error> {
        match value.to_str() {
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
            _ => Err(bad_bool(arg, value.to_owned())),
        }
    }
}

fn bad_bool(arg: Option<&Arg>, value: OsString) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let mut error = clap::Error::new(ErrorKind::ValueValidation);
    let flag = arg.and_then(Arg::get_long).map(|long| format!("--{long}")).unwrap_or_default();
    error.insert(ContextKind::InvalidArg, ContextValue::String(flag));
    let value = value.to_string_lossy().into_owned();
    error.insert(ContextKind::InvalidValue, ContextValue::String(value));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<(GlobalArgs, Command), clap::Error> {
        parse(&Typed::new(line.split(' ').map(OsString::from).collect()))
    }

    #[test]
    fn the_surface_is_consistent() {
        surface().debug_assert();
        forgiving(surface()).debug_assert();
        for command in surface().get_subcommands() {
            let typed = Typed::new(["orlop".into(), command.get_name().into()].into());
            quick_surface(&typed).debug_assert();
        }
    }

    #[test]
    fn global_flags_stand_before_and_after() {
        let line =
            "orlop --storage-opt a=1 --root /x layers -j --runroot /r -g /y --storage-opt b=2";
        let Ok((global, Command::Layers(_))) = parse_line(line) else { panic!("{line}") };
        assert_eq!(global.graph.as_deref(), Some("/y".as_ref()));
        assert_eq!(global.run.as_deref(), Some("/r".as_ref()));
        assert_eq!(global.storage_opt, ["a=1", "b=2"]);
    }

    #[test]
    fn flags_are_as_forgiving_as_gos() {
        for (line, json, quick) in [
            ("orlop layers -jq", true, true),
            ("orlop layers --json=true --quick=F", true, false),
            ("orlop layers -j --json=0", false, false),
        ] {
            let Ok((_, Command::Layers(layers))) = parse_line(line) else { panic!("{line}") };
            assert_eq!((layers.json, layers.quick), (json, quick), "{line}");
        }
        assert!(matches!(parse_line("orlop createlayer -r"), Ok((_, Command::CreateLayer(_)))));
        let line = "orlop set-metadata -m -dashed- id";
        let Ok((_, Command::SetMetadata(set))) = parse_line(line) else { panic!("{line}") };
        assert_eq!(set.metadata.metadata.as_deref(), Some("-dashed-"));
    }
}

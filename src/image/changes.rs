//! The changes that `commit --change` makes to an image's config, read as podman reads them.

use serde_json::{Map, Value, json};

use crate::{Error, ErrorKind, Result};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Cmd(Vec<String>),
    Entrypoint(Vec<String>),
    Env(String, String),
    /// `port/protocol`.
    Expose(String),
    Label(String, String),
    OnBuild(String),
    /// The signal's number.
    StopSignal(u32),
    User(String),
    Volume(Vec<String>),
    WorkDir(String),
}

/// Reads `INSTRUCTION value` (or `INSTRUCTION=value`).
pub(super) fn parse(text: &str) -> Result<Change> {
    let bad = |why: String| {
        Error::new(ErrorKind::InvalidArgument, format!("reading the change {text:?}"))
            .detail(why)
            .hint("a change reads INSTRUCTION value; CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR are known")
    };
    let (word, value) = text
        .split_once(' ')
        .or_else(|| text.split_once('='))
        .ok_or_else(|| bad("it has no value".into()))?;
    let value = value.trim();
    let present = || {
        if value.is_empty() { Err(bad("its value is empty".into())) } else { Ok(value.to_string()) }
    };
    Ok(match word.trim().to_ascii_uppercase().as_str() {
        "CMD" => Change::Cmd(command(value)),
        "ENTRYPOINT" => Change::Entrypoint(command(value)),
        "ENV" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            if key.is_empty() {
                return Err(bad("the variable has no name".into()));
            }
            Change::Env(unquote(key).into(), unquote(value).into())
        }
        "EXPOSE" => Change::Expose(port(value).map_err(bad)?),
        "LABEL" => {
            let (key, value) =
                value.split_once('=').ok_or_else(|| bad("a label reads key=value".into()))?;
            if key.is_empty() {
                return Err(bad("the label has no key".into()));
            }
            Change::Label(unquote(key).into(), unquote(value).into())
        }
        "ONBUILD" => Change::OnBuild(present()?),
        "STOPSIGNAL" => {
            Change::StopSignal(signal(value).ok_or_else(|| bad(format!("{value:?} is no signal")))?)
        }
        "USER" => Change::User(present()?),
        "VOLUME" => Change::Volume(match serde_json::from_str::<Vec<String>>(value) {
            Ok(list) => list,
            Err(_) => present()?.split_whitespace().map(str::to_string).collect(),
        }),
        "WORKDIR" => Change::WorkDir(present()?),
        other => return Err(bad(format!("the instruction {other} is not known"))),
    })
}

/// A JSON list of words, or a line for the shell.
fn command(value: &str) -> Vec<String> {
    serde_json::from_str(value)
        .unwrap_or_else(|_| vec!["/bin/sh".into(), "-c".into(), value.into()])
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

fn port(value: &str) -> Result<String, String> {
    let (number, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let number: u16 =
        number.parse().ok().filter(|n| *n > 0).ok_or("a port is a number from 1 to 65535")?;
    match protocol.to_ascii_lowercase().as_str() {
        protocol @ ("tcp" | "udp") => Ok(format!("{number}/{protocol}")),
        _ => {
            Err("a port's protocol is tcp or udp, and each port needs an EXPOSE of its own".into())
        }
    }
}

const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

fn signal(value: &str) -> Option<u32> {
    if let Ok(number) = value.parse::<u32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = value.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = SIGNALS.iter().position(|s| *s == name) {
        return u32::try_from(at).ok().map(|at| at + 1);
    }
    let number = match name {
        "IOT" => 6,
        "CLD" => 17,
        "POLL" => 29,
        "RTMIN" => RTMIN,
        "RTMAX" => RTMAX,
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(n), _) => RTMIN.checked_add(n.parse().ok()?)?,
            (_, Some(n)) => RTMAX.checked_sub(n.parse().ok()?)?,
            _ => return None,
        },
    };
    (1..=RTMAX).contains(&number).then_some(number)
}

/// Makes the change in the `config` object of an image's config.
pub(super) fn apply(config: &mut Map<String, Value>, change: &Change) {
    match change {
        Change::Cmd(words) => set_list(config, "Cmd", words),
        Change::Entrypoint(words) => set_list(config, "Entrypoint", words),
        Change::Env(key, value) => {
            let mut list = strings(config.get("Env"));
            // A variable that is set again goes to the end.
            list.retain(|known| known.split_once('=').map_or(known.as_str(), |(k, _)| k) != key);
            list.push(format!("{key}={value}"));
            set_list(config, "Env", &list);
        }
        Change::Expose(port) => insert(config, "ExposedPorts", port, json!({})),
        Change::Label(key, value) => insert(config, "Labels", key, json!(value)),
        Change::OnBuild(line) => {
            let mut list = strings(config.get("OnBuild"));
            list.push(line.clone());
            set_list(config, "OnBuild", &list);
        }
        Change::StopSignal(number) => {
            config.insert("StopSignal".into(), json!(number.to_string()));
        }
        Change::User(user) => {
            config.insert("User".into(), json!(user));
        }
        Change::Volume(paths) => {
            for path in paths {
                insert(config, "Volumes", path, json!({}));
            }
        }
        Change::WorkDir(dir) => {
            config.insert("WorkingDir".into(), json!(dir));
        }
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_string).collect())
        .unwrap_or_default()
}

fn set_list(config: &mut Map<String, Value>, key: &str, list: &[String]) {
    if list.is_empty() {
        config.shift_remove(key);
    } else {
        config.insert(key.into(), json!(list));
    }
}

fn insert(config: &mut Map<String, Value>, key: &str, name: &str, value: Value) {
    let slot = config.entry(key).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    if let Some(object) = slot.as_object_mut() {
        object.insert(name.to_string(), value);
        // As Go writes a map.
        object.sort_keys();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[&str]) -> Value {
        let mut config =
            json!({"Env": ["PATH=/bin", "TERM=xterm"], "Cmd": ["/bin/sh"], "Volumes": null})
                .as_object()
                .unwrap()
                .clone();
        for change in changes {
            apply(&mut config, &parse(change).unwrap());
        }
        config.into()
    }

    // Each of these is what `podman commit --change` of podman 4.3 recorded.
    #[test]
    fn changes_are_podmans() {
        assert_eq!(after(&["ENV a b"])["Env"][2], "a b=");
        assert_eq!(after(&["ENV A=1 B=2"])["Env"][2], "A=1 B=2");
        assert_eq!(after(&[r#"ENV C="q w""#])["Env"][2], "C=q w");
        assert_eq!(after(&["ENV PATH=/x:$PATH"])["Env"], json!(["TERM=xterm", "PATH=/x:$PATH"]));
        assert_eq!(after(&[r#"CMD ["/bin/x","<y>"]"#])["Cmd"], json!(["/bin/x", "<y>"]));
        assert_eq!(after(&[r#"CMD ["a", b]"#])["Cmd"], json!(["/bin/sh", "-c", r#"["a", b]"#]));
        assert_eq!(after(&["cmd x"])["Cmd"][2], "x");
        assert_eq!(after(&["CMD=x"])["Cmd"][2], "x");
        assert!(after(&["CMD []"]).get("Cmd").is_none());
        assert_eq!(after(&["ENTRYPOINT /ep a"])["Entrypoint"], json!(["/bin/sh", "-c", "/ep a"]));
        assert_eq!(after(&["VOLUME /a /b"])["Volumes"], json!({"/a": {}, "/b": {}}));
        assert_eq!(after(&[r#"VOLUME ["/a","/b"]"#])["Volumes"], json!({"/a": {}, "/b": {}}));
        assert_eq!(after(&["EXPOSE 80"])["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(
            after(&["EXPOSE 53/UDP", "EXPOSE 1/tcp"])["ExposedPorts"],
            json!({"53/udp": {}, "1/tcp": {}})
        );
        assert_eq!(after(&[r#"LABEL x="y z" q=r"#])["Labels"], json!({"x": "\"y z\" q=r"}));
        assert_eq!(after(&["LABEL k='v w'"])["Labels"], json!({"k": "'v w'"}));
        assert_eq!(after(&["STOPSIGNAL SIGINT"])["StopSignal"], "2");
        assert_eq!(after(&["STOPSIGNAL RTMIN+3"])["StopSignal"], "37");
        assert_eq!(after(&["WORKDIR rel"])["WorkingDir"], "rel");
        assert_eq!(after(&["USER u:g"])["User"], "u:g");
        assert_eq!(after(&["ONBUILD RUN x"])["OnBuild"], json!(["RUN x"]));
    }

    #[test]
    fn bad_changes_are_refused() {
        for text in [
            "ENV",
            "USER",
            "HEALTHCHECK NONE",
            "FOO x",
            "LABEL a",
            "LABEL a b",
            "LABEL =x",
            "ENV =x",
            "EXPOSE 80/tcp 90",
            "EXPOSE 80-90",
            "EXPOSE x",
            "EXPOSE 0",
            "EXPOSE 65536",
            "STOPSIGNAL foo",
            "STOPSIGNAL 65",
            "STOPSIGNAL RTMIN+99",
            "WORKDIR ",
            "ONBUILD ",
            "",
        ] {
            assert_eq!(parse(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text:?}");
        }
    }
}

//! The words of the command line as they were typed, for messages that repeat them.

use std::ffi::OsString;

/// The global flags that take the next word as their value.
const WITH_VALUE: [&str; 11] = [
    "-g",
    "--graph",
    "--root",
    "-R",
    "--run",
    "--runroot",
    "--image-store",
    "-s",
    "--storage-driver",
    "--dialect",
    "--storage-opt",
];

/// A command line and where in it the command's name stands.
pub(crate) struct Typed {
    words: Vec<OsString>,
    command: Option<usize>,
}

impl Typed {
    /// The command line of this process.
    pub(crate) fn from_process() -> Self {
        Self::new(std::env::args_os().collect())
    }

    /// Finds the command's name in `words`, of which the first is the program's.
    pub(crate) fn new(words: Vec<OsString>) -> Self {
        let mut command = None;
        let mut index = 1;
        while let Some(word) = words.get(index) {
            let word = word.to_string_lossy();
            if !word.starts_with('-') || word == "-" {
                command = Some(index);
                break;
            }
            index += match &*word {
                "--" => {
                    command = Some(index + 1).filter(|&next| next < words.len());
                    break;
                }
                flag if WITH_VALUE.contains(&flag) => 2,
                _ => 1,
            };
        }
        Self { words, command }
    }

    /// All words, the program's name included.
    pub(crate) fn words(&self) -> &[OsString] {
        &self.words
    }

    /// The command's name, alias or not, as typed.
    pub(crate) fn command(&self) -> Option<String> {
        self.words.get(self.command?).map(|word| word.to_string_lossy().into_owned())
    }

    /// The words behind the command's name.
    pub(crate) fn after_command(&self) -> &[OsString] {
        self.command.and_then(|index| self.words.get(index + 1..)).unwrap_or_default()
    }

    /// Whether `word` stands among the global flags, before the command's name.
    pub(crate) fn has_global(&self, word: &str) -> bool {
        self.words.iter().take(self.command.unwrap_or(usize::MAX)).any(|typed| typed == word)
    }

    /// The last word, which is the flag that lacks its value if one does.
    pub(crate) fn last(&self) -> String {
        self.words.last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        Typed::new(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn the_command_is_found_behind_global_flags() {
        for (line, command) in [
            ("orlop layers -j", Some("layers")),
            ("orlop -g /a --run /b layers", Some("layers")),
            ("orlop --graph=/a -D -s vfs -- images", Some("images")),
            ("orlop -g layers", None),
            ("orlop", None),
        ] {
            assert_eq!(typed(line).command().as_deref(), command, "{line}");
        }
        assert!(typed("orlop -h layers").has_global("-h"));
        assert!(!typed("orlop layers -h").has_global("-h"));
    }
}

//! `candlepower completion`: scripts that complete its command line, also as kubectl's plugin.
use super::Arguments;
use clap::{Arg, Command, CommandFactory};
use std::{ffi::OsString, io::Write};

/// The plugin's name in the `PATH`.
pub(super) const PLUGIN: &str = "kubectl-candlepower";
/// kubectl runs the program of this name to complete the plugin's command line: the words so far,
/// of which the last is to be completed.
const FOR_KUBECTL: &str = "#!/bin/sh
# Completes `kubectl candlepower`. Save it as kubectl_complete-candlepower in a folder of the PATH.
exec kubectl-candlepower complete -- \"$@\"
";
/// kubectl's word for: no names of files.
const NO_FILES: &str = ":4";

/// Who completes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Completer {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
    /// kubectl, for `kubectl candlepower`.
    Kubectl,
}

/// Writes the script of `completer`.
pub(super) fn script(completer: Completer, out: &mut dyn Write) -> std::io::Result<()> {
    use clap_complete::Shell;
    let shell = match completer {
        Completer::Bash => Shell::Bash,
        Completer::Elvish => Shell::Elvish,
        Completer::Fish => Shell::Fish,
        Completer::PowerShell => Shell::PowerShell,
        Completer::Zsh => Shell::Zsh,
        Completer::Kubectl => return out.write_all(FOR_KUBECTL.as_bytes()),
    };
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "candlepower", &mut script);
    out.write_all(&script)
}

/// What can stand in the place of the last of `words`, each on a line, as kubectl reads it.
pub(super) fn complete(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let (last, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (&**last, before));
    let mut root = Arguments::command();
    root.build();
    let command = before.iter().fold(&root, |command, word| {
        command.find_subcommand(&**word).unwrap_or(command)
    });
    let mut found = candidates(command, before.last().map(|word| &**word), last);
    found.retain(|candidate| candidate.starts_with(last));
    found.push(NO_FILES.to_owned());
    found.join("\n") + "\n"
}

fn candidates(command: &Command, previous: Option<&str>, last: &str) -> Vec<String> {
    let all = command.get_arguments();
    let arguments: Vec<_> = all.filter(|one| !one.is_hide_set()).collect();
    let meant = previous.and_then(|flag| arguments.iter().find(|one| is_called(one, flag)));
    if let Some(argument) = meant.filter(|one| one.get_action().takes_values()) {
        return values(argument).collect();
    }
    if last.starts_with('-') {
        let flags = arguments.iter().filter_map(|one| one.get_long());
        return flags.map(|long| format!("--{long}")).collect();
    }
    let subcommands = command.get_subcommands().filter(|one| !one.is_hide_set());
    let names = subcommands.map(|one| one.get_name().to_owned());
    let places = arguments.iter().filter(|one| one.is_positional());
    names.chain(places.flat_map(|one| values(one))).collect()
}

/// Whether a word such as `-o` or `--output` stands for `argument`.
fn is_called(argument: &Arg, word: &str) -> bool {
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    [long, short].iter().flatten().any(|name| name == word)
}

/// The values of which one has to be chosen.
fn values(argument: &Arg) -> impl Iterator<Item = String> + use<> {
    let values = argument.get_possible_values().into_iter();
    values.map(|value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(words: &[&str]) -> Vec<String> {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        let text = complete(&words);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.pop().as_deref(), Some(NO_FILES), "{text}");
        lines
    }

    fn written(completer: Completer) -> String {
        let mut out = Vec::new();
        script(completer, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands_and_hides_the_hidden() {
        use clap::ValueEnum;
        let shells = Completer::value_variants().iter().copied();
        for shell in shells.filter(|one| !matches!(one, Completer::Kubectl)) {
            let script = written(shell);
            for word in ["candlepower", "traces", "dashboards", "lookback"] {
                assert!(script.contains(word), "{shell:?} lacks {word}");
            }
        }
    }

    #[test]
    fn kubectl_s_script_asks_the_plugin_by_its_own_name() {
        let script = written(Completer::Kubectl);
        assert!(script.starts_with("#!/bin/sh\n"));
        assert!(script.contains(&format!("exec {PLUGIN} complete -- \"$@\"")));
    }

    #[test]
    fn kubectl_completes_commands_flags_and_their_values() {
        let commands = completed(&[""]);
        assert!(commands.contains(&"status".to_owned()), "{commands:?}");
        assert!(!commands.contains(&"job".to_owned()), "{commands:?}");
        assert!(!commands.contains(&"complete".to_owned()), "{commands:?}");
        assert_eq!(completed(&["tra"]), ["traces"]);
        assert_eq!(completed(&["traces", "tiny", "--look"]), ["--lookback"]);
        assert_eq!(completed(&["traces", "tiny", "--names"]), ["--namespace"]);
        assert_eq!(completed(&["status", "-o", ""]), ["text", "json"]);
        assert_eq!(completed(&["status", "--output", "j"]), ["json"]);
        assert_eq!(completed(&["completion", "k"]), ["kubectl"]);
        assert!(completed(&["traces", "--lookback", ""]).is_empty());
    }
}

//! Reads a guide and does what it says: writes its configurations, runs its commands, and looks for what it says they print.

use std::process::{Command, Stdio};

use super::common::{Lab, Tofu, repository};
use super::run;

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// `hcl`, `sh` or `text`.
    pub language: String,
    /// What is in it.
    pub text: String,
}

/// The fenced blocks of `docs/guides/NAME.md`, in order.
pub fn blocks(name: &str) -> Vec<Block> {
    let file = repository().join(format!("docs/guides/{name}.md"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut blocks: Vec<Block> = vec![];
    let mut open = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(language), false) => {
                blocks.push(Block { language: language.to_owned(), text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "{name}: the last block is not closed");
    blocks
}

/// The name that a configuration's first line gives it: `# main.tf`.
pub fn file_of(block: &Block) -> Option<&str> {
    block.text.lines().next()?.strip_prefix("# ").filter(|name| name.ends_with(".tf"))
}

/// Goes through a guide in a workspace. `stand_in` turns what needs something that a test cannot have into what it has.
pub fn follow(name: &str, lab: &Lab, tofu: &Tofu, stand_in: impl Fn(&Block) -> Option<String>) {
    let mut printed = String::new();
    for block in blocks(name) {
        let Some(text) = stand_in(&block) else { continue };
        match block.language.as_str() {
            "hcl" => tofu.write(file_of(&block).unwrap_or_else(|| panic!("{name}: a configuration without a file name: {text}")), &text),
            "sh" => printed = shell(name, lab, tofu, &text),
            "text" => told(name, &printed, &text),
            other => panic!("{name}: a block of {other:?}"),
        }
    }
}

/// Runs the lines of a block as a user's shell in the workspace would.
fn shell(name: &str, lab: &Lab, tofu: &Tofu, commands: &str) -> String {
    // `tofu` finds the provider of this build, kubectl and helm the lab's cluster; colours would stand between words
    let mut shell = Command::new("bash");
    shell.args(["-e", "-c", commands]).current_dir(tofu.dir()).stdin(Stdio::null());
    shell.env_clear().envs(lab.env()).envs(tofu.variables()).env("TF_CLI_ARGS_plan", "-no-color").env("TF_CLI_ARGS_apply", "-no-color");
    let (ok, printed) = run(&mut shell);
    assert!(ok, "{name}: this fails:\n{commands}\n{printed}");
    printed
}

/// The output holds these lines' words, in this order.
fn told(name: &str, printed: &str, expected: &str) {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let (all, mut rest) = (words(printed), words(printed));
    for line in expected.lines() {
        let line = words(line);
        let at = rest.find(&line).unwrap_or_else(|| panic!("{name}: {line:?} is not (there) in what was printed:\n{all}\n{printed}"));
        rest = rest.split_off(at + line.len());
    }
}

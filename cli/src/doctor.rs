//! `doctor`: what the store stands on, and what to change.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orlop::driver::examine::{Answer, Area, Finding, examine, is_usable};
use serde::Serialize;

use crate::command::Outcome;
use crate::global::{Configured, Context};

/// `doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// Try features out, in a directory of its own outside the store: in $TMPDIR, /var/tmp or the run root, whichever is on the graph
    /// root's file system
    #[arg(long)]
    probe: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// A finding in JSON: its keys stay the same from version to version.
#[derive(Serialize)]
struct Row<'a> {
    area: &'static str,
    name: &'a str,
    answer: &'static str,
    why: &'a str,
    change: Option<&'a str>,
    needed: bool,
}

/// All of it in JSON.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    graph_root: String,
    run_root: String,
    usable: bool,
    findings: Vec<Row<'a>>,
}

impl Doctor {
    /// Code 1 if the store cannot be used.
    pub(crate) fn run(self, cx: &mut Context) -> Outcome {
        let Configured { options, warnings, ignored } = cx.configured()?;
        let scratch = if self.probe { places(&options.run_root) } else { Vec::new() };
        let mut findings = examine(&options, &scratch);
        findings.extend(warnings.iter().map(|text| {
            Finding::new(Area::Settings, "setting", Answer::Yes, text)
                .change("correct it in the file that it names")
        }));
        findings.extend(ignored.iter().map(|text| {
            Finding::new(Area::Settings, "setting", Answer::No, format!("{text} has no effect"))
                .change(
                    "no present version knows the key: correct its spelling or table, or remove it",
                )
        }));
        let usable = is_usable(&findings);
        match self.format {
            Format::Json => cx.out.json(&Report {
                version: orlop::VERSION,
                graph_root: options.graph_root.display().to_string(),
                run_root: options.run_root.display().to_string(),
                usable,
                findings: findings.iter().map(Row::from).collect(),
            })?,
            Format::Table => {
                for line in table(&findings) {
                    cx.out.line(line)?;
                }
                let graph = options.graph_root.display();
                let can = if usable { "can" } else { "cannot" };
                cx.out.line(format_args!("The store at {graph} {can} be used."))?;
            }
        }
        Ok(if usable { 0 } else { 1 })
    }
}

impl<'a> From<&'a Finding> for Row<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            area: finding.area.word(),
            name: finding.name,
            answer: finding.answer.word(),
            why: &finding.why,
            change: finding.change.as_deref(),
            needed: finding.needed,
        }
    }
}

/// Where a directory for trials may be made, the likeliest first.
fn places(run_root: &std::path::Path) -> Vec<PathBuf> {
    let named = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.into_iter().chain(["/var/tmp".into(), run_root.to_path_buf()]).collect()
}

/// Name, answer and reason; what to change stands on a line of its own.
fn table(findings: &[Finding]) -> Vec<String> {
    let width = findings.iter().map(|f| f.name.len()).max().unwrap_or_default();
    let indent = " ".repeat(width + 11);
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    let mut lines = Vec::new();
    let mut area = None;
    for finding in findings {
        if area.replace(finding.area) != Some(finding.area) {
            lines.push(format!("{}:", finding.area.word()));
        }
        let (name, answer) = (finding.name, finding.answer.word());
        lines.push(format!("  {name:width$} {answer:7} {}", clean(&finding.why)));
        if let Some(change) = &finding.change {
            lines.push(format!("{indent}→ {}", clean(change)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_below_its_finding() {
        let findings = [
            Finding::new(Area::Kernel, "overlay", Answer::Yes, "there"),
            Finding::new(Area::Disk, "free-space", Answer::No, "1\n2").change("delete"),
        ];
        assert_eq!(
            table(&findings),
            [
                "kernel:",
                "  overlay    yes     there",
                "disk:",
                "  free-space no      1 2",
                "                     → delete",
            ]
        );
    }
}

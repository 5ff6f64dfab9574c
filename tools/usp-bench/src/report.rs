//! All that was measured, as JSON and as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::contestant::About;
use crate::stats::Spread;

/// One figure of a scenario's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) decimals: usize,
}

pub(crate) const fn column(key: &'static str, title: &'static str, decimals: usize) -> Column {
    Column { key, title, decimals }
}

/// What one contestant did in one run of one case.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) scenario: &'static str,
    pub(crate) case: String,
    pub(crate) who: String,
    pub(crate) run: usize,
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

/// A table's shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) scenario: &'static str,
    pub(crate) title: &'static str,
    /// The first one is also shown as a ratio to the first contestant's.
    pub(crate) columns: &'static [Column],
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) machine: Vec<(&'static str, String)>,
    pub(crate) contestants: Vec<(String, About)>,
    /// Name and the command that installs it.
    pub(crate) missing: Vec<(String, String)>,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) notes: Vec<String>,
    pub(crate) failures: Vec<String>,
}

/// The figures of one row, by key.
type Row = BTreeMap<&'static str, Spread>;

impl Report {
    /// Cases of a scenario, and contestants of each with their figures, all in the order in which they came.
    fn cases(&self, scenario: &str) -> Vec<(String, Vec<(String, Row)>)> {
        let mut cases: Vec<(String, Vec<String>)> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.scenario == scenario) {
            if !cases.iter().any(|(case, _)| *case == sample.case) {
                cases.push((sample.case.clone(), Vec::new()));
            }
            if let Some((_, names)) = cases.iter_mut().find(|(case, _)| *case == sample.case)
                && !names.contains(&sample.who)
            {
                names.push(sample.who.clone());
            }
        }
        let rows = |case: String, names: Vec<String>| {
            let row = |who: String| (who.clone(), self.row(scenario, &case, &who));
            (case.clone(), names.into_iter().map(row).collect())
        };
        cases.into_iter().map(|(case, names)| rows(case, names)).collect()
    }

    fn row(&self, scenario: &str, case: &str, who: &str) -> Row {
        let mut figures: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        let is_ours =
            |sample: &&Sample| sample.scenario == scenario && sample.case == case && sample.who == who;
        for sample in self.samples.iter().filter(is_ours) {
            for (key, figure) in &sample.figures {
                figures.entry(key).or_default().push(*figure);
            }
        }
        figures.into_iter().filter_map(|(key, figures)| Some((key, Spread::of(&figures)?))).collect()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# Measured by `usp-bench`\n\n| machine | |\n|---|---|\n");
        for (name, value) in &self.machine {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text.push_str(
            "\n| contestant | version | an answer of success means | settings |\n|---|---|---|---|\n",
        );
        for (name, about) in &self.contestants {
            let About { version, durability, settings } = about;
            let _ = writeln!(text, "| {name} | {version} | {durability} | {settings} |");
        }
        for (name, command) in &self.missing {
            let _ = writeln!(text, "| {name} | **not installed**: `{command}` | | |");
        }
        text.push_str("\nCells are medians (least–most). Ratios are to the first row of a table.\n");
        for layout in &self.layouts {
            self.scenario_markdown(layout, &mut text);
        }
        for (title, lines) in [("Notes", &self.notes), ("Failures", &self.failures)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n## {title}\n");
                for line in lines {
                    let _ = writeln!(text, "- {}", line.replace('\n', " "));
                }
            }
        }
        text
    }

    fn scenario_markdown(&self, layout: &Layout, text: &mut String) {
        let _ = writeln!(text, "\n## {}: {}", layout.scenario, layout.title);
        for (case, rows) in self.cases(layout.scenario) {
            let used = |column: &&Column| rows.iter().any(|(_, row)| row.contains_key(column.key));
            let columns: Vec<&Column> = layout.columns.iter().filter(used).collect();
            let _ = write!(text, "\n**{case}**\n\n| |");
            let mut rule = String::from("\n|---|");
            for (index, column) in columns.iter().enumerate() {
                let _ = write!(text, " {} |", column.title);
                rule.push_str("---|");
                if index == 0 {
                    text.push_str(" ratio |");
                    rule.push_str("---|");
                }
            }
            let _ = writeln!(text, "{rule}");
            for (who, row) in &rows {
                let first = rows.first().map(|(_, row)| row);
                let _ = writeln!(text, "| {who} |{}", cells(&columns, row, first));
            }
        }
    }

    pub(crate) fn json(&self) -> Value {
        let summaries = self.layouts.iter().flat_map(|layout| {
            self.cases(layout.scenario).into_iter().flat_map(move |(case, rows)| {
                rows.into_iter().map(move |(who, row)| {
                    let figures: BTreeMap<_, _> = row
                        .into_iter()
                        .map(|(key, s)| {
                            (key, json!({"median": s.median, "min": s.min, "max": s.max, "runs": s.count}))
                        })
                        .collect();
                    json!({"scenario": layout.scenario, "case": case.clone(), "who": who, "figures": figures})
                })
            })
        });
        let samples = self.samples.iter().map(|sample| {
            let Sample { scenario, case, who, run, figures } = sample;
            json!({"scenario": scenario, "case": case, "who": who, "run": run, "figures": figures})
        });
        let contestants = self.contestants.iter().map(|(name, about)| {
            json!({"name": name, "version": about.version, "durability": about.durability, "settings": about.settings})
        });
        json!({
            "machine": self.machine.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
            "contestants": contestants.collect::<Vec<_>>(),
            "missing": self.missing.iter().map(|(name, command)| json!({"name": name, "install": command})).collect::<Vec<_>>(),
            "summaries": summaries.collect::<Vec<_>>(),
            "samples": samples.collect::<Vec<_>>(),
            "notes": self.notes,
            "failures": self.failures,
        })
    }
}

fn cells(columns: &[&Column], row: &Row, first: Option<&Row>) -> String {
    let mut text = String::new();
    for (index, column) in columns.iter().enumerate() {
        let figure = row.get(column.key);
        text.push(' ');
        text.push_str(&figure.map_or_else(|| "–".to_owned(), |spread| cell(*spread, column.decimals)));
        text.push_str(" |");
        if index == 0 {
            let base = first.and_then(|row| row.get(column.key)).map(|spread| spread.median);
            let ratio =
                figure.zip(base).filter(|(_, base)| *base > 0.0).map(|(spread, base)| spread.median / base);
            let _ =
                write!(text, " {} |", ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")));
        }
    }
    text
}

fn cell(spread: Spread, decimals: usize) -> String {
    let number = |figure: f64| grouped(&format!("{figure:.decimals$}"));
    let (median, min, max) = (number(spread.median), number(spread.min), number(spread.max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// `1234567.8` → `1,234,567.8`.
fn grouped(number: &str) -> String {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    fraction.into_iter().for_each(|rest| {
        text.push('.');
        text.push_str(rest);
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        scenario: "x",
        title: "one thing",
        columns: &[column("speed", "MB/s", 0), column("cpu", "CPU s", 1)],
    };

    fn sample(who: &str, run: usize, speed: f64) -> Sample {
        let figures = [("speed", speed), ("cpu", 0.25)].into();
        Sample { scenario: "x", case: "all".to_owned(), who: who.to_owned(), run, figures }
    }

    fn report() -> Report {
        let samples = vec![
            sample("usp", 0, 1000.0),
            sample("peer", 0, 500.0),
            sample("usp", 1, 1200.0),
            sample("peer", 1, 500.0),
            sample("usp", 2, 900.0),
        ];
        Report { layouts: vec![LAYOUT], samples, ..Report::default() }
    }

    #[test]
    fn a_table_has_medians_spreads_and_ratios() {
        let text = report().markdown();
        assert!(text.contains("| | MB/s | ratio | CPU s |\n|---|---|---|---|\n"), "{text}");
        assert!(text.contains("| usp | 1,000 (900–1,200) | 1.00 | 0.2 |\n"), "{text}");
        assert!(text.contains("| peer | 500 | 0.50 | 0.2 |\n"), "{text}");
    }

    #[test]
    fn the_json_keeps_every_sample() {
        let json = report().json();
        assert_eq!(json.pointer("/samples").and_then(Value::as_array).map(Vec::len), Some(5));
        assert_eq!(json.pointer("/summaries/0/figures/speed/median"), Some(&json!(1000.0)));
    }

    #[test]
    fn who_is_missing_is_named_with_the_way_to_install_it() {
        let missing = vec![("garage".to_owned(), "tools/bench-peers.sh garage".to_owned())];
        let text = Report { missing, ..Report::default() }.markdown();
        assert!(text.contains("| garage | **not installed**: `tools/bench-peers.sh garage` |"), "{text}");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped("1234567.8"), "1,234,567.8");
        assert_eq!(grouped("123"), "123");
        assert_eq!(grouped("-1234"), "-1,234");
        assert_eq!(grouped("-123"), "-123");
    }
}

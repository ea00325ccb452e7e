//! The table at the end of a run: tasks as columns, methods as rows, mean ± standard deviation over seeds.

use std::fmt::Write as _;

use stepsynth_datasets::Protocol;

use super::results::{ResultRow, Split};
use crate::teacher::Provenance;

/// Draws the final test results of `rows`, one cell per task and metric, in % with the training-set size behind; ends with a
/// line that says where the numbers come from. Order of tasks, metrics and methods is that of `rows`.
pub fn draw(rows: &[ResultRow]) -> String {
    let rows: Vec<&ResultRow> = rows.iter().filter(|row| row.split == Split::Test).collect();
    if rows.is_empty() {
        return "No test results yet.\n".to_owned();
    }
    let mut columns = unique(rows.iter().map(|row| (row.task.clone(), row.metric.clone())));
    // Macro-F1 says little beside accuracy; it is in results.csv.
    let beside_accuracy = |(task, metric): &(String, String)| {
        metric == "macro_f1" && rows.iter().any(|row| row.task == *task && row.metric == "accuracy")
    };
    columns.retain(|column| !beside_accuracy(column));
    let methods = unique(rows.iter().map(|row| (row.method.clone(), row.variant.clone(), row.student.clone())));
    let students = unique(rows.iter().map(|row| row.student.clone()));
    let mut lines = vec![
        std::iter::once("method".to_owned()).chain(columns.iter().map(|(task, metric)| format!("{task} {metric}"))).collect(),
    ];
    for (method, variant, student) in &methods {
        let mut name = if variant.is_empty() { method.clone() } else { format!("{method} {variant}") };
        if students.len() > 1 {
            let _ = write!(name, " [{student}]");
        }
        let mut line = vec![name];
        for (task, metric) in &columns {
            let group = rows.iter().filter(|row| {
                (&row.task, &row.metric, &row.method, &row.variant, &row.student) == (task, metric, method, variant, student)
            });
            line.push(cell(&group.copied().collect::<Vec<_>>()));
        }
        lines.push(line);
    }
    let mut table = lay_out(&lines);
    let _ = write!(table, "\n{}\n", origin(&rows));
    table
}

/// `mean ± std (mean size)`; the standard deviation has `n - 1` below, and is left out for one seed.
fn cell(group: &[&ResultRow]) -> String {
    if group.is_empty() {
        return "-".to_owned();
    }
    let values: Vec<f64> = group.iter().map(|row| 100.0 * row.value).collect();
    let mut text = match mean_and_std(&values) {
        (mean, Some(std)) => format!("{mean:.2} ± {std:.2}"),
        (mean, None) => format!("{mean:.2}"),
    };
    let sizes: Vec<f64> = group.iter().filter_map(|row| row.train_rows).map(|rows| rows as f64).collect();
    if !sizes.is_empty() {
        let _ = write!(text, " ({:.0})", mean_and_std(&sizes).0);
    }
    text
}

/// Mean and sample standard deviation, the latter from two values on.
pub fn mean_and_std(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

fn origin(rows: &[&ResultRow]) -> String {
    let seeds = unique(rows.iter().map(|row| row.seed)).len();
    let mut parts =
        vec![format!("Test results in %, mean ± standard deviation over {seeds} seed{}", if seeds == 1 { "" } else { "s" })];
    parts.push("training rows in brackets".to_owned());
    for provenance in unique(rows.iter().map(|row| row.provenance)) {
        let teachers = unique(rows.iter().filter(|row| row.provenance == provenance).map(|row| row.teacher.clone())).join(", ");
        match provenance {
            Provenance::Simulated => parts.push("SIMULATED teacher: a laboratory outcome, not the paper's".to_owned()),
            Provenance::Replayed => parts.push(format!("replayed teacher ({teachers})")),
            Provenance::Live => parts.push(format!("live teacher ({teachers})")),
            Provenance::None => {}
        }
    }
    for protocol in unique(rows.iter().map(|row| row.protocol)) {
        parts.push(match protocol {
            Protocol::Clean => "protocol clean".to_owned(),
            Protocol::Paper => "protocol paper (epochs are chosen on the mined data)".to_owned(),
        });
    }
    parts.push(format!("student {}", unique(rows.iter().map(|row| row.student.clone())).join(", ")));
    format!("{}.", parts.join("; "))
}

/// Lines of cells, the first of them the heading, as text in columns; the first column is names, the others are numbers.
pub fn lay_out(lines: &[Vec<String>]) -> String {
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (text, &width))| if at == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") })
            .collect();
        let _ = writeln!(out, "{}", padded.join("  "));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
            let _ = writeln!(out, "{}", rules.join("  "));
        }
    }
    out
}

fn unique<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}

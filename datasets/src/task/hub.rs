//! Where on the hub a task's gold data are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Fields, Gold, LabelOrder, Source, TaskSpec};
use crate::{Error, Result, hub};

/// Gold data on the Hugging Face hub. `stepsynth data fetch` brings the files into the data folder, where they are read if
/// the files of `[gold]` are not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// The data set, `org/name`.
    pub repository: String,
    /// Commit, or a branch, which is resolved when it is fetched.
    pub revision: String,
    /// Columns that differ from the task's.
    #[serde(default)]
    pub fields: Fields,
    /// Which label each number means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_order: Option<LabelOrder>,
    /// File in the repository = file in the data folder, training data.
    pub train: BTreeMap<String, String>,
    /// The same of the test data.
    pub(crate) test: BTreeMap<String, String>,
}

/// Which gold files are in a data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoldFiles {
    /// Those of `[gold]`.
    Stated,
    /// Those that `stepsynth data fetch` brings.
    Fetched,
    /// Neither completely.
    Absent,
}

impl HubSource {
    /// The fetched files as sources.
    pub(super) fn gold(&self) -> Gold {
        let source = |files: &BTreeMap<String, String>| Source {
            files: files.values().map(PathBuf::from).collect(),
            label_order: self.label_order.clone(),
            fields: self.fields.clone(),
            ..Source::default()
        };
        Gold { train: source(&self.train), test: source(&self.test) }
    }
}

impl TaskSpec {
    /// Which gold files of the task are in the folder.
    pub fn gold_files(&self, data: &Path) -> GoldFiles {
        let there = |source: &Source| source.files.iter().all(|file| data.join(file).is_file());
        let complete = |gold: &Gold| there(&gold.train) && there(&gold.test);
        if self.gold.as_ref().is_some_and(complete) {
            GoldFiles::Stated
        } else if self.hub.as_ref().is_some_and(|hub| complete(&hub.gold())) {
            GoldFiles::Fetched
        } else {
            GoldFiles::Absent
        }
    }

    /// The gold data to read from the folder: training and test data are of one origin.
    pub(crate) fn gold_in(&self, data: &Path) -> Result<Gold> {
        let stated = || self.gold.clone().or_else(|| self.hub.as_ref().map(HubSource::gold));
        let no_gold = || Error::NoGold { task: self.name.clone() };
        let Some(hub) = &self.hub else { return stated().ok_or_else(no_gold) };
        match self.gold_files(data) {
            GoldFiles::Stated => stated().ok_or_else(no_gold),
            GoldFiles::Fetched => Ok(hub.gold()),
            GoldFiles::Absent => {
                let mut gold = stated().ok_or_else(no_gold)?;
                for source in [&mut gold.train, &mut gold.test] {
                    let or = if source.obtain.is_empty() { String::new() } else { format!(", or {}", source.obtain) };
                    source.obtain = format!("run `stepsynth data fetch {} --data {}`{or}", self.name, data.display());
                }
                Ok(gold)
            }
        }
    }
}

/// Field, fault and remedy of the first thing that is wrong.
pub(super) fn check(source: &HubSource) -> std::result::Result<(), (&'static str, String, String)> {
    let shown = |error: Error| error.to_string();
    hub::check_repository(&source.repository)
        .map_err(|e| ("hub.repository", shown(e), "name a data set on the hub".to_owned()))?;
    hub::check_revision(&source.revision).map_err(|e| ("hub.revision", shown(e), "name a branch or a commit".to_owned()))?;
    for (field, files) in [("hub.train", &source.train), ("hub.test", &source.test)] {
        if files.is_empty() {
            return Err((field, "names no file".into(), "name at least one".into()));
        }
        for path in files.iter().flat_map(|(remote, local)| [remote, local]) {
            hub::check_file(path)
                .map_err(|e| (field, shown(e), "write paths relative to the repository and the data folder".into()))?;
        }
    }
    Ok(())
}

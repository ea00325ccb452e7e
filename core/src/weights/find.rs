//! The files of a checkpoint: one safetensors file, or several with an index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::convert;
use super::safetensors_file::{Entry, SafetensorsFile, fail};
use crate::{Result, file};

pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Longest index accepted: far above what the deepest model of these families needs.
const MAX_INDEX: u64 = 16 << 20;

/// Most files one checkpoint may have; each stays open while the model is read.
const MAX_SHARDS: usize = 256;

/// Every tensor of a checkpoint by its name in the file.
pub(super) struct Files {
    /// The file that names the checkpoint in messages: the safetensors file itself, or the index.
    pub(super) path: PathBuf,
    pub(super) shards: Vec<SafetensorsFile>,
    /// Which shard a tensor is in, and where.
    pub(super) tensors: BTreeMap<String, (usize, Entry)>,
}

impl Files {
    /// Opens `path`: a safetensors file, an index, or a directory with one of them (the former is preferred, as in
    /// transformers).
    pub(super) fn open(path: &Path) -> Result<Self> {
        let path = match path.is_dir() {
            true if path.join(SINGLE).is_file() => path.join(SINGLE),
            true if path.join(INDEX).is_file() => path.join(INDEX),
            true => return Err(convert::no_weights(path)),
            false => path.to_path_buf(),
        };
        if path.extension().is_some_and(|extension| extension == "json") {
            return Self::open_shards(path);
        }
        let (shard, entries) = SafetensorsFile::open(&path)?;
        let tensors = entries.into_iter().map(|(name, entry)| (name, (0, entry))).collect();
        Ok(Self { path, shards: vec![shard], tensors })
    }

    /// The index says which file each tensor is in; the files must hold exactly what it says.
    fn open_shards(path: PathBuf) -> Result<Self> {
        let map = weight_map(&path)?;
        let mut names: Vec<&String> = map.values().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > MAX_SHARDS {
            return Err(fail(&path, format!("weight_map names {} files, at most {MAX_SHARDS} are read", names.len())));
        }
        let (mut shards, mut tensors) = (Vec::new(), BTreeMap::new());
        for (number, shard_name) in names.into_iter().enumerate() {
            let shard_path = path.with_file_name(shard_name);
            if !shard_path.is_file() {
                return Err(fail(&path, format!("its file {shard_name} is missing; fetch the model again")));
            }
            let (shard, entries) = SafetensorsFile::open(&shard_path)?;
            for (name, entry) in entries {
                match map.get(&name) {
                    Some(mapped) if mapped == shard_name => drop(tensors.insert(name, (number, entry))),
                    Some(other) => {
                        return Err(fail(&path, format!("tensor {name} is in {shard_name}, weight_map says in {other}")));
                    }
                    None => return Err(fail(&path, format!("tensor {name} of {shard_name} is not in weight_map"))),
                }
            }
            shards.push(shard);
        }
        match map.iter().find(|(name, _)| !tensors.contains_key(*name)) {
            Some((name, shard)) => Err(fail(&path, format!("tensor {name} is not in {shard}, where weight_map says it is"))),
            None => Ok(Self { path, shards, tensors }),
        }
    }
}

/// Tensor name to the name of a file beside the index.
fn weight_map(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = file::read_text(path, MAX_INDEX)?;
    let index: Value = serde_json::from_str(&text).map_err(|error| fail(path, format!("not valid JSON: {error}")))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| fail(path, "weight_map is missing or not an object from tensor to file".into()))?;
    if map.is_empty() {
        return Err(fail(path, "weight_map is empty".into()));
    }
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':']);
    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            Some(name) if plain(name) && name.ends_with(".safetensors") => Ok((tensor.clone(), name.to_owned())),
            _ => Err(fail(path, format!("weight_map of {tensor} is {file}, must name a safetensors file beside the index"))),
        })
        .collect()
}

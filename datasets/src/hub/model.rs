//! Which files make a model.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::api::{Listing, Remote, RemoteFile};
use super::cache::Store;
use super::id::{ModelId, RepoKind, check_file, refused};
use super::place::{parent, place, place_copy, place_text};
use super::{Fetched, Hub, Watch};
use crate::{Error, Result};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLED: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Either says what the tokens are.
const TOKENIZERS: [&str; 2] = ["tokenizer.json", "vocab.txt"];
/// Fetched where they exist.
const COMPANIONS: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
/// Largest index read: those of models with hundreds of shards have a few megabytes.
const LARGEST_INDEX: u64 = 16 << 20;

pub(super) fn fetch(hub: &Hub, id: &ModelId, to: Option<&Path>, watch: &dyn Watch) -> Result<Fetched> {
    to.map_or(Ok(()), must_be_free)?;
    let remote = hub.remote(RepoKind::Model, id.repository())?;
    let store = Store::new(hub.settings.cache(), RepoKind::Model, id.repository());
    let listing = remote.list(id.revision(), watch)?;
    let files = choose(hub, &remote, &store, &listing, watch)?;
    let fetched = hub.bring(&remote, &store, &listing, id.revision(), &files, watch)?;
    let Some(to) = to else { return Ok(fetched) };
    if to.exists() {
        // Not every system renames over an empty folder.
        std::fs::remove_dir(to).map_err(|error| Error::write(to, error))?;
    }
    place(parent(to), to, |made| {
        for file in &files {
            place_copy(&store.blob(&file.content), &made.join(&file.path))?;
        }
        place_text(made, &made.join("fetched.json"), &fetched.record.json())
    })?;
    Ok(Fetched { folder: to.into(), ..fetched })
}

fn must_be_free(to: &Path) -> Result<()> {
    let fault = |why: &str| Err(refused(&to.display().to_string(), why.into(), "name a new folder, or an empty one"));
    match std::fs::read_dir(to) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| fault("the folder is not empty")),
        Err(_) if to.exists() => fault("not a folder that can be read"),
        Err(_) => Ok(()),
    }
}

/// The files of the model, `config.json` last: whoever looks for it finds the rest. Of a sharded model, the index has to be
/// fetched to know the shards.
fn choose<'l>(
    hub: &Hub,
    remote: &Remote<'_>,
    store: &Store,
    listing: &'l Listing,
    watch: &dyn Watch,
) -> Result<Vec<&'l RemoteFile>> {
    let what = format!("model `{}` at {}", remote.name, listing.commit);
    let there = |path: &str| listing.files.get(path);
    let mut files: Vec<&RemoteFile> = TOKENIZERS.iter().chain(&COMPANIONS).filter_map(|path| there(path)).collect();
    if !files.iter().any(|file| TOKENIZERS.contains(&file.path.as_str())) {
        let why = format!("there is neither {} nor {}", TOKENIZERS[0], TOKENIZERS[1]);
        return Err(refused(&what, why, "only models with a WordPiece tokenizer can be read; use another"));
    }
    if let Some(weights) = there(WEIGHTS) {
        files.push(weights);
    } else if let Some(index) = there(INDEX) {
        if index.size > LARGEST_INDEX {
            return Err(refused(&what, format!("{INDEX} has {} bytes", index.size), "use another model"));
        }
        hub.blob(remote, store, listing, index, watch)?;
        for shard in shards(&store.blob(&index.content))? {
            let found = there(&shard).ok_or_else(|| {
                refused(&what, format!("{INDEX} names `{shard}`, which is not there"), "use another revision, or tell its owner")
            });
            files.push(found?);
        }
        files.push(index);
    } else {
        return Err(no_weights(&what, remote.name, listing));
    }
    files.push(there(CONFIG).ok_or_else(|| refused(&what, format!("there is no {CONFIG}"), "use a model for transformers"))?);
    Ok(files)
}

fn no_weights(what: &str, name: &str, listing: &Listing) -> Error {
    if !PICKLED.iter().any(|path| listing.files.contains_key(*path)) {
        return refused(what, format!("there is no {WEIGHTS}"), "use a model for transformers that has one");
    }
    let convert = format!(
        "convert it to a folder DIR and use that: python3 -c \"import transformers as t; n, r = '{name}', '{}'; \
         c = getattr(t, t.AutoConfig.from_pretrained(n, revision=r).architectures[0]); \
         [x.from_pretrained(n, revision=r).save_pretrained('DIR') for x in (c, t.AutoTokenizer)]\"",
        listing.commit
    );
    refused(what, format!("the weights are in {}, a pickle, which is not read", PICKLED[0]), &convert)
}

/// The files that an index names.
fn shards(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let damaged = |why: String| Error::Format { path: index.into(), why, remedy: "use another model or revision".into() };
    let bytes = std::fs::read(index).map_err(|source| Error::Io { path: index.into(), source })?;
    let Index { weight_map } =
        serde_json::from_slice(&bytes).map_err(|error| damaged(format!("not an index of weights ({error})")))?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    shards.iter().try_for_each(|shard| check_file(shard))?;
    if shards.is_empty() { Err(damaged("an index of weights that names none".into())) } else { Ok(shards) }
}

/// What a student needs and this folder does not have. A link to nothing is nothing.
pub(super) fn missing(folder: &Path) -> Vec<String> {
    let there = |path: &str| folder.join(path).is_file();
    let mut missing = Vec::new();
    if !there(CONFIG) {
        missing.push(CONFIG.to_owned());
    }
    if !TOKENIZERS.iter().any(|path| there(path)) {
        missing.push(TOKENIZERS.join(" or "));
    }
    if there(INDEX) && !there(WEIGHTS) {
        match shards(&folder.join(INDEX)) {
            Ok(shards) => missing.extend(shards.into_iter().filter(|shard| !there(shard))),
            Err(_) => missing.push(format!("readable {INDEX}")),
        }
    } else if !there(WEIGHTS) && !there(PICKLED[0]) {
        missing.push(WEIGHTS.to_owned());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(missing(folder.path()), ["config.json", "tokenizer.json or vocab.txt", "model.safetensors"]);
        write("config.json", "{}");
        write("vocab.txt", "a");
        write(INDEX, r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#);
        write("two.safetensors", "");
        assert_eq!(missing(folder.path()), ["one.safetensors"]);
        write(INDEX, r#"{"weight_map": {"a": "../../../etc/passwd"}}"#);
        assert_eq!(missing(folder.path()), [format!("readable {INDEX}")]);
        write("model.safetensors", "");
        assert!(missing(folder.path()).is_empty());
    }
}

//! Writing a checkpoint.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::{HostTensor, hugging_face_names, safetensors_file, stored_shape};
use crate::config::{EncoderConfig, Head, parameter_layout};
use crate::{Result, file};

/// Values put into bytes at once.
const CHUNK: usize = 1 << 16;

/// A tensor of the file: its name, shape and values.
type Part<'a> = (String, Vec<usize>, &'a [f32]);

/// Writes the parameters of `config` with `head` to the file `path`, atomically, as f32 under transformers' names.
///
/// # Errors
/// [`Error::Weights`](crate::Error::Weights) if `tensors` is not exactly the layout of the model (any order);
/// [`Error::Config`](crate::Error::Config) if the head has no classes; [`Error::Io`](crate::Error::Io).
pub fn save(path: &Path, config: &EncoderConfig, head: Head, tensors: &[(String, HostTensor)]) -> Result<()> {
    head.validate("model head")?;
    let mut parts = parts(path, config, head, tensors)?;
    parts.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut end = 0;
    let infos = parts.iter().map(|(name, shape, values)| {
        let begin = end;
        end += size_of_val(*values);
        (name.clone(), TensorInfo { dtype: Dtype::F32, shape: shape.clone(), data_offsets: (begin, end) })
    });
    let fail = |error: String| safetensors_file::fail(path, error);
    // transformers refuses files that do not name their origin.
    let origin = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(origin), infos.collect()).map_err(|error| fail(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| fail(error.to_string()))?;
    // Tensors begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    file::write_atomically_with(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for chunk in parts.iter().flat_map(|(.., values)| values.chunks(CHUNK)) {
            out.write_all(&chunk.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(())
    })
}

fn parts<'a>(path: &Path, config: &EncoderConfig, head: Head, tensors: &'a [(String, HostTensor)]) -> Result<Vec<Part<'a>>> {
    let fail = |message: String| safetensors_file::fail(path, message);
    let by_name: HashMap<&str, &HostTensor> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let layout = parameter_layout(config, head);
    if tensors.len() != layout.len() {
        return Err(fail(format!("{} tensors given, the model has {}", tensors.len(), layout.len())));
    }
    let mut parts = Vec::new();
    for spec in &layout {
        let tensor = *by_name.get(spec.name.as_str()).ok_or_else(|| fail(format!("tensor {} is missing", spec.name)))?;
        let got = (tensor.rows, tensor.columns, tensor.data.len());
        if got != (spec.rows, spec.columns, spec.rows * spec.columns) {
            return Err(fail(format!(
                "tensor {} has shape {:?} with {} values, the model needs {:?}",
                spec.name,
                (tensor.rows, tensor.columns),
                tensor.data.len(),
                (spec.rows, spec.columns)
            )));
        }
        let names = hugging_face_names(config.family, head, &spec.name);
        let share = tensor.data.len() / names.len();
        for (name, values) in names.into_iter().zip(tensor.data.chunks_exact(share)) {
            parts.push((name, stored_shape(spec, share), values));
        }
    }
    Ok(parts)
}

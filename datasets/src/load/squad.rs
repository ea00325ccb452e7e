//! SQuAD v1.1 JSON: `data` -> `paragraphs` (a context each) -> `qas`. A question is a row; rows are counted over the file.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::row::{BadRow, Place, Row, Rows};
use crate::task::{Fields, Role};
use crate::{Error, Result};

#[derive(Deserialize)]
struct Document {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Map<String, Value>>,
}

/// The columns of this format, whatever the task calls its own.
pub(super) fn fields() -> Fields {
    Fields { id: Some(Role::Id.name().into()), ..Fields::default() }
}

pub(super) fn read(text: &str, path: &Path) -> Result<Rows> {
    let document: Document = serde_json::from_str(text).map_err(|error| Error::Format {
        path: path.into(),
        why: format!("not SQuAD v1.1 JSON ({error})"),
        remedy: "state another `format`, or mend the file".into(),
    })?;
    let mut rows = Rows::default();
    let mut row = 0;
    for paragraph in document.data.into_iter().flat_map(|article| article.paragraphs) {
        for mut fields in paragraph.qas {
            row += 1;
            let place = Place::Row(row);
            if fields.get("is_impossible") == Some(&Value::Bool(true)) {
                let (field, why) = (Some("is_impossible".into()), "a question without answer (SQuAD v2); this reads v1.1".into());
                rows.bad.push(BadRow { file: path.into(), place, field, why });
                continue;
            }
            fields.insert(Role::Context.name().into(), Value::String(paragraph.context.clone()));
            rows.good.push(Row { place, fields });
        }
    }
    Ok(rows)
}

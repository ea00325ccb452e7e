//! Parquet, through the record interface of the `parquet` crate. Only the columns that are needed are read.

use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::{ColumnDescriptor, Type};
use serde_json::{Map, Value};

use super::row::{BadRow, Place, Row, Rows};
use crate::{Error, Result};

pub(super) fn read(file: File, path: &Path, required: &[&str], optional: Option<&str>) -> Result<Rows> {
    let fault = |why: String, remedy: &str| Error::Format { path: path.into(), why, remedy: remedy.into() };
    let reader = guarded(path, || SerializedFileReader::new(file))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let root = schema.root_schema();
    for column in required {
        if !root.get_fields().iter().any(|field| field.name() == *column) {
            let there: Vec<_> = root.get_fields().iter().map(|field| field.name()).collect();
            return Err(fault(format!("has no column `{column}`, only {}", there.join(", ")), "name the column in `fields`"));
        }
    }
    let needed = |name: &str| required.contains(&name) || optional == Some(name);
    for leaf in schema.columns() {
        if needed(&leaf.path().parts()[0]) && !is_plain(leaf) {
            let why = format!("column `{}` holds {} ({})", leaf.path().string(), leaf.physical_type(), leaf.converted_type());
            return Err(fault(why, "text, numbers, and lists and records of them can be read"));
        }
    }
    let fields = root.get_fields().iter().filter(|field| needed(field.name())).cloned().collect();
    let projection = guarded(path, || Type::group_type_builder(root.name()).with_fields(fields).build())?;
    let mut records = guarded(path, || reader.get_row_iter(Some(projection)))?;
    let (mut rows, mut count) = (Rows::default(), 0);
    while let Some(record) = guarded(path, || records.next().transpose())? {
        count += 1;
        let place = Place::Row(count);
        let columns = record.into_columns();
        match columns.into_iter().map(|(name, field)| Ok((name, value(field)?))).collect() {
            Ok(fields) => rows.good.push(Row { place, fields }),
            Err(NotText) => {
                rows.bad.push(BadRow { file: path.into(), place, field: None, why: "holds bytes that are not UTF-8".into() });
            }
        }
    }
    Ok(rows)
}

fn damaged(path: &Path, why: impl fmt::Display) -> Error {
    let remedy = "copy the file again; if it is gzipped, unpack it (Parquet is compressed within)".into();
    Error::Format { path: path.into(), why: format!("not readable as Parquet ({why})"), remedy }
}

/// A step of the `parquet` crate, which panics on some damaged files; nothing that it held then is used again. Panics of
/// this crate's own code are not caught.
fn guarded<T>(path: &Path, step: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(outcome) => outcome.map_err(|error| damaged(path, error)),
        Err(_) => Err(damaged(path, "its reader panicked")),
    }
}

/// The types that data sets are made of. The record interface panics on some others, so they are refused beforehand.
fn is_plain(leaf: &Arc<ColumnDescriptor>) -> bool {
    use ConvertedType as C;
    match leaf.physical_type() {
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => true,
        Physical::INT32 => {
            matches!(leaf.converted_type(), C::NONE | C::INT_8 | C::INT_16 | C::INT_32 | C::UINT_8 | C::UINT_16 | C::UINT_32)
        }
        Physical::INT64 => matches!(leaf.converted_type(), C::NONE | C::INT_64 | C::UINT_64),
        Physical::BYTE_ARRAY => matches!(leaf.converted_type(), C::NONE | C::UTF8 | C::ENUM | C::JSON),
        Physical::INT96 | Physical::FIXED_LEN_BYTE_ARRAY => false,
    }
}

struct NotText;

fn value(field: Field) -> std::result::Result<Value, NotText> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => truth.into(),
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) => number.into(),
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => number.into(),
        Field::Float(number) => number.into(),
        Field::Double(number) => number.into(),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_err(|_| NotText)?.into(),
        Field::Group(group) => {
            let fields = group.into_columns().into_iter().map(|(name, field)| Ok((name, value(field)?)));
            Value::Object(fields.collect::<std::result::Result<Map<_, _>, _>>()?)
        }
        Field::ListInternal(list) => {
            let elements = list.elements().iter().cloned().map(value);
            Value::Array(elements.collect::<std::result::Result<_, _>>()?)
        }
        // Refused by `is_plain`, or (maps) of no role's shape.
        _ => Value::Null,
    })
}

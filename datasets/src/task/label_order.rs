//! Which label each number in a file means.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The label names of the numbers of one file. Sources disagree about numbers (IMDb: 1 is positive in one release and
/// negative in another), so a number means nothing until this names it.
///
/// In TOML a list for numbers from 0, `["negative", "positive"]`, or a table, `{ 1 = "world", 2 = "sports" }`; on the command
/// line `negative,positive` or `1=world,2=sports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct LabelOrder(BTreeMap<i64, String>);

impl LabelOrder {
    /// The label a number means.
    pub fn name(&self, number: i64) -> Option<&str> {
        self.0.get(&number).map(String::as_str)
    }

    /// The label names, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// The order as on the command line with numbers.
    pub(crate) fn describe(&self) -> String {
        self.0.iter().map(|(number, name)| format!("{number}={name}")).collect::<Vec<_>>().join(",")
    }
}

/// A number that stands for a label, also as spreadsheets and data frames write it (`1.0`).
pub(crate) fn whole_number(written: &str) -> Option<i64> {
    written.strip_suffix(".0").unwrap_or(written).parse().ok()
}

impl<S: Into<String>> FromIterator<S> for LabelOrder {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        Self((0..).zip(names.into_iter().map(Into::into)).collect())
    }
}

impl FromStr for LabelOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!("label order `{text}` has an empty name; write `negative,positive` or `1=world,2=sports`"));
        }
        if parts.iter().all(|part| !part.contains('=')) {
            return Ok(parts.into_iter().collect());
        }
        let mut order = BTreeMap::new();
        for part in parts {
            let numbered = part.split_once('=').and_then(|(number, name)| Some((number.trim().parse().ok()?, name.trim())));
            let Some((number, name)) = numbered else {
                return Err(format!("label order `{text}`: `{part}` is not `<number>=<label>`"));
            };
            if order.insert(number, name.to_owned()).is_some() {
                return Err(format!("label order `{text}` names the number {number} twice"));
            }
        }
        Ok(Self(order))
    }
}

/// The two ways to write an order in TOML or JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a list of label names or a table of number = label name")]
enum Written {
    List(Vec<String>),
    Table(BTreeMap<String, String>),
}

impl TryFrom<Written> for LabelOrder {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let table = match written {
            Written::List(names) => return Ok(names.into_iter().collect()),
            Written::Table(table) => table,
        };
        let mut order = BTreeMap::new();
        for (key, name) in table {
            let number = key.parse().map_err(|_| format!("label_order: `{key}` is not a whole number"))?;
            order.insert(number, name);
        }
        Ok(Self(order))
    }
}

impl From<LabelOrder> for Written {
    fn from(order: LabelOrder) -> Self {
        if order.0.keys().copied().eq(0..order.0.len() as i64) {
            Self::List(order.0.into_values().collect())
        } else {
            Self::Table(order.0.into_iter().map(|(number, name)| (number.to_string(), name)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_forms_of_the_command_line() {
        let list: LabelOrder = "negative, positive".parse().unwrap();
        assert_eq!((list.name(0), list.name(1), list.name(2)), (Some("negative"), Some("positive"), None));
        let table: LabelOrder = "1=world,2=sports".parse().unwrap();
        assert_eq!((table.name(0), table.name(1), table.name(2)), (None, Some("world"), Some("sports")));
        assert_eq!(table.describe(), "1=world,2=sports");
    }

    #[test]
    fn broken_orders_are_refused() {
        for (text, message) in [
            ("a,,b", "label order `a,,b` has an empty name; write `negative,positive` or `1=world,2=sports`"),
            ("1=a,b", "label order `1=a,b`: `b` is not `<number>=<label>`"),
            ("1=a,1=b", "label order `1=a,1=b` names the number 1 twice"),
        ] {
            assert_eq!(text.parse::<LabelOrder>().unwrap_err(), message);
        }
    }

    #[test]
    fn written_and_read_back() {
        for text in ["negative,positive", "1=world,2=sports", "-1=a,1=b"] {
            let order: LabelOrder = text.parse().unwrap();
            let json = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<LabelOrder>(&json).unwrap(), order, "{json}");
        }
    }
}

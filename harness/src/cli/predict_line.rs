//! A line in: one JSON object that says what to predict; a line out.

use std::io::{BufRead, Read as _};

use serde::Serialize;
use serde_json::{Map, Value};
use stepsynth_core::config::Head;
use stepsynth_datasets::Input;

use crate::student::Prediction;

/// Longest line in bytes: far above any text that a model reads, and small enough to hold many.
const LONGEST_LINE: u64 = 4 << 20;

/// What one line asks.
pub(super) struct Asked {
    /// Echoed in the answer.
    id: Option<Value>,
    pub(super) input: Input,
}

/// The next line of `source` without its end, `None` at the end.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn next_line(source: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    source.take(LONGEST_LINE).read_until(b'\n', &mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == LONGEST_LINE && bytes.last() != Some(&b'\n') {
        return Err(format!("is longer than {} MiB; put one object on a line", LONGEST_LINE >> 20));
    }
    match String::from_utf8(bytes) {
        Ok(line) => Ok(Some(line)),
        Err(error) => Err(format!("is not UTF-8 (byte {} of the line)", error.utf8_error().valid_up_to() + 1)),
    }
}

/// Reads a line for a model with `head`. Fields that the model does not need are ignored, so that labelled rows can be predicted.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn parse(line: &str, head: Head) -> Result<Asked, String> {
    if line.trim().is_empty() {
        return Err("is empty; put one JSON object on each line".to_owned());
    }
    let mut fields: Map<String, Value> = serde_json::from_str(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "is not a JSON object".to_owned(),
        serde_json::error::Category::Eof => "ends within the JSON object; an object must stand on one line".to_owned(),
        _ => format!("is not valid JSON at column {}", error.column()),
    })?;
    let input = match head {
        Head::Classification { .. } => {
            let text = text(&fields, "text", "`text`, or `text` and `text_pair`")?;
            match fields.get("text_pair") {
                None | Some(Value::Null) => Input::Single { text },
                Some(_) => Input::Pair { text, text_pair: self::text(&fields, "text_pair", "")? },
            }
        }
        Head::QuestionAnswering => {
            let needs = "`question` and `context`";
            Input::Qa { question: text(&fields, "question", needs)?, context: text(&fields, "context", needs)? }
        }
    };
    Ok(Asked { id: fields.remove("id"), input })
}

fn text(fields: &Map<String, Value>, name: &str, needs: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("field `{name}`: is {}, not text", other.to_string().chars().take(40).collect::<String>())),
        None => {
            let there: Vec<&str> = fields.keys().map(String::as_str).collect();
            let there = if there.is_empty() { "no field".to_owned() } else { there.join(", ") };
            Err(format!("field `{name}`: is missing; this model reads {needs}, the line has {there}"))
        }
    }
}

/// The answer to a line.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    #[serde(flatten)]
    said: Said<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Label { label: &'a str, logits: &'a [f32] },
    Span { answer: &'a str, start: usize, end: usize, score: f32 },
}

/// The line that answers `asked`.
///
/// # Errors
/// If the model gave numbers that JSON has no word for.
pub(super) fn answer(asked: &Asked, prediction: &Prediction, labels: &[String]) -> Result<String, String> {
    let said = match prediction {
        Prediction::Label { label, logits } => {
            if logits.iter().any(|logit| !logit.is_finite()) {
                return Err("the model's logits are not finite numbers; are its weights damaged?".to_owned());
            }
            Said::Label { label: labels.get(*label).map_or("", String::as_str), logits }
        }
        Prediction::Span { answer, start, end, score } => Said::Span { answer, start: *start, end: *end, score: *score },
    };
    serde_json::to_string(&Answer { id: asked.id.as_ref(), said }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: Head = Head::Classification { labels: 2 };

    #[test]
    fn a_line_is_an_input_or_says_what_is_wrong() {
        for (head, line, expected) in [
            (CLASSES, r#"{"text": "a"}"#, Ok("a")),
            (CLASSES, "{\"text\": \"a\", \"text_pair\": null, \"label\": 1}\r\n", Ok("a")),
            (CLASSES, r#"{"text": "a", "text_pair": "b"}"#, Ok("a|b")),
            (Head::QuestionAnswering, r#"{"question": "q", "context": "c"}"#, Ok("q|c")),
            (CLASSES, "\n", Err("is empty; put one JSON object on each line")),
            (CLASSES, "[1]", Err("is not a JSON object")),
            (CLASSES, r#"{"text": "a"} x"#, Err("is not valid JSON at column 15")),
            (CLASSES, r#"{"text": "#, Err("ends within the JSON object; an object must stand on one line")),
            (CLASSES, r#"{"text": 3}"#, Err("field `text`: is 3, not text")),
            (CLASSES, r#"{"text": "a", "text_pair": []}"#, Err("field `text_pair`: is [], not text")),
            (
                CLASSES,
                r#"{"question": "q", "context": "c"}"#,
                Err(
                    "field `text`: is missing; this model reads `text`, or `text` and `text_pair`, the line has context, question",
                ),
            ),
            (
                Head::QuestionAnswering,
                "{}",
                Err("field `question`: is missing; this model reads `question` and `context`, the line has no field"),
            ),
        ] {
            let got = parse(line, head).map(|asked| match asked.input.context() {
                Some(context) => format!("{}|{context}", asked.input.written()),
                None => asked.input.written().to_owned(),
            });
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{line}");
        }
    }

    #[test]
    fn answers_echo_the_id_and_name_the_label() {
        let labels = ["no".to_owned(), "yes".to_owned()];
        let asked = |line: &str, head| parse(line, head).unwrap();
        let label = Prediction::Label { label: 1, logits: vec![-0.5, 0.1] };
        let line = answer(&asked(r#"{"text": "a"}"#, CLASSES), &label, &labels);
        assert_eq!(line.unwrap(), r#"{"label":"yes","logits":[-0.5,0.1]}"#);
        let line = answer(&asked(r#"{"id": 7, "text": "a"}"#, CLASSES), &label, &labels);
        assert_eq!(line.unwrap(), r#"{"id":7,"label":"yes","logits":[-0.5,0.1]}"#);
        let span = Prediction::Span { answer: "é".into(), start: 2, end: 3, score: 1.25 };
        let line = answer(&asked(r#"{"id": "x", "question": "q", "context": "c é"}"#, Head::QuestionAnswering), &span, &[]);
        assert_eq!(line.unwrap(), r#"{"id":"x","answer":"é","start":2,"end":3,"score":1.25}"#);
        let broken = Prediction::Label { label: 0, logits: vec![f32::NAN, 0.0] };
        assert!(answer(&asked(r#"{"text": "a"}"#, CLASSES), &broken, &labels).is_err());
    }

    #[test]
    fn lines_end_anywhere_and_may_be_damaged() {
        let mut source: &[u8] = b"one\n\nlast";
        let mut next = || next_line(&mut source);
        assert_eq!(
            [next(), next(), next(), next()],
            [Ok(Some("one\n".into())), Ok(Some("\n".into())), Ok(Some("last".into())), Ok(None)]
        );
        assert_eq!(next_line(&mut &b"ab\xff\n"[..]), Err("is not UTF-8 (byte 3 of the line)".into()));
        let endless = vec![b'x'; LONGEST_LINE as usize + 1];
        assert_eq!(next_line(&mut &endless[..]), Err("is longer than 4 MiB; put one object on a line".into()));
    }
}

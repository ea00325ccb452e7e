//! The answers of a question: where they stand in the context is checked, not believed.

use serde_json::Value;

use crate::Answer;

/// Answers from SQuAD's columns (`{"text": [..], "answer_start": [..]}`), a list of `{"text", "answer_start"}`, or either as
/// JSON in a string (CSV). The same answer given twice counts once. `Err` says what is wrong.
pub(super) fn answers(value: &Value, context: &str) -> Result<Vec<Answer>, String> {
    let parsed;
    let value = match value {
        Value::String(text) => {
            parsed = serde_json::from_str(text).map_err(|_| "is text that is not JSON".to_owned())?;
            &parsed
        }
        other => other,
    };
    let mut answers = Vec::new();
    for (text, start) in pairs(value)? {
        let answer = check(text, start, context)?;
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    if answers.is_empty() {
        return Err("holds no answer; every question needs one".into());
    }
    Ok(answers)
}

fn pairs(value: &Value) -> Result<Vec<(&Value, &Value)>, String> {
    let shape = || "is neither {text: [..], answer_start: [..]} nor a list of {text, answer_start}".to_owned();
    match value {
        Value::Object(columns) => {
            let column = |name| columns.get(name).and_then(Value::as_array).ok_or_else(shape);
            let (texts, starts) = (column("text")?, column("answer_start")?);
            if texts.len() != starts.len() {
                return Err(format!("has {} texts and {} starts", texts.len(), starts.len()));
            }
            Ok(texts.iter().zip(starts).collect())
        }
        Value::Array(list) => list
            .iter()
            .map(|item| Some((item.get("text")?, item.get("answer_start")?)))
            .map(|pair| pair.ok_or_else(shape))
            .collect(),
        _ => Err(shape()),
    }
}

fn check(text: &Value, start: &Value, context: &str) -> Result<Answer, String> {
    let text = text.as_str().ok_or("has an answer text that is no text")?;
    let start = start.as_u64().and_then(|start| usize::try_from(start).ok()).ok_or("has a start that is no whole number")?;
    if text.trim().is_empty() {
        return Err("has an empty answer".into());
    }
    let from_start = context.char_indices().nth(start).map(|(byte, _)| &context[byte..]);
    if from_start.is_some_and(|rest| rest.starts_with(text)) {
        return Ok(Answer { text: text.to_owned(), start });
    }
    if context.get(start..).is_some_and(|rest| rest.starts_with(text)) {
        return Err(format!(
            "counts bytes: answer `{text}` is at byte {start}, which is not character {start}; count characters"
        ));
    }
    match from_start {
        None => Err(format!("answer `{text}` starts at character {start}, the context has {}", context.chars().count())),
        Some(rest) => {
            let found: String = rest.chars().take(text.chars().count()).collect();
            Err(format!("answer `{text}` is not at character {start}: `{found}` is"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CONTEXT: &str = "Tromsø lies north of Malmö.";

    #[test]
    fn both_shapes_and_json_in_text() {
        let expected = vec![Answer { text: "Malmö".into(), start: 21 }];
        let columns = json!({"text": ["Malmö", "Malmö"], "answer_start": [21, 21]});
        let list = json!([{"text": "Malmö", "answer_start": 21}]);
        assert_eq!(answers(&columns, CONTEXT).unwrap(), expected);
        assert_eq!(answers(&list, CONTEXT).unwrap(), expected);
        assert_eq!(answers(&Value::String(list.to_string()), CONTEXT).unwrap(), expected);
    }

    #[test]
    fn wrong_answers_are_explained() {
        let one = |text: &str, start: i64| json!([{"text": text, "answer_start": start}]);
        for (value, why) in [
            (one("Malmö", 22), "counts bytes: answer `Malmö` is at byte 22, which is not character 22; count characters"),
            (one("Malmö", 20), "answer `Malmö` is not at character 20: ` Malm` is"),
            (one("Malmö", 99), "answer `Malmö` starts at character 99, the context has 27"),
            (one("Malmö", -1), "has a start that is no whole number"),
            (one(" ", 6), "has an empty answer"),
            (json!([]), "holds no answer; every question needs one"),
            (json!({"text": ["a", "b"], "answer_start": [1]}), "has 2 texts and 1 starts"),
            (json!("{'text': ['a']}"), "is text that is not JSON"),
            (json!(7), "is neither {text: [..], answer_start: [..]} nor a list of {text, answer_start}"),
            (json!([{"text": "a"}]), "is neither {text: [..], answer_start: [..]} nor a list of {text, answer_start}"),
        ] {
            assert_eq!(answers(&value, CONTEXT).unwrap_err(), why, "{value}");
        }
    }
}

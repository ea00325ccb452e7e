//! Exact match and F1 of answers by the rules of the official SQuAD evaluation (Rajpurkar et al. 2016).

use std::collections::HashMap;

/// Lower case, without ASCII punctuation, without the words a, an and the, single spaces.
pub fn normalize(answer: &str) -> String {
    let lower = answer.to_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(plain.len());
    // A word is a maximal run of letters and digits, as between two `\b` of a regular expression.
    let mut rest = plain.as_str();
    while let Some(first) = rest.chars().next() {
        let in_word = first.is_alphanumeric();
        let end = rest.find(|c: char| c.is_alphanumeric() != in_word).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        kept.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = after;
    }
    words(&kept).collect::<Vec<_>>().join(" ")
}

/// 1 if the normalised prediction equals one of the normalised `accepted` answers, else 0.
pub fn exact_match<S: AsRef<str>>(prediction: &str, accepted: &[S]) -> f64 {
    let prediction = normalize(prediction);
    f64::from(u8::from(accepted.iter().any(|answer| normalize(answer.as_ref()) == prediction)))
}

/// Largest F1 over the `accepted` answers of the bags of normalised words; 0 without answers.
///
/// Where an answer or the prediction normalises to nothing, it is 1 if both do, else 0 (the rule of SQuAD 2.0, so that F1
/// is never below exact match).
pub fn f1<S: AsRef<str>>(prediction: &str, accepted: &[S]) -> f64 {
    let prediction = normalize(prediction);
    accepted.iter().map(|answer| f1_of_normalized(&prediction, &normalize(answer.as_ref()))).fold(0.0, f64::max)
}

fn f1_of_normalized(prediction: &str, answer: &str) -> f64 {
    let mut remaining: HashMap<&str, usize> = HashMap::new();
    for word in words(answer) {
        *remaining.entry(word).or_default() += 1;
    }
    let (mut common, mut predicted) = (0, 0);
    for word in words(prediction) {
        predicted += 1;
        if let Some(count) = remaining.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    let total = predicted + words(answer).count();
    if total == 0 { 1.0 } else { 2.0 * f64::from(common) / total as f64 }
}

/// Split at what Python's `str.split` takes for white space: Unicode's and the four separators of ASCII.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalization_drops_articles_punctuation_and_case() {
        assert_eq!(normalize("The  U.S.A.'s an-other, theatre"), "usas another theatre");
        assert_eq!(normalize("a—the—an"), "— —");
        assert_eq!(normalize(" A "), "");
    }

    #[test]
    fn f1_takes_the_best_answer() {
        let accepted = ["completely different", "red blue blue"];
        // Two common words of three and three.
        assert!((f1("red red blue", &accepted) - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(f1("red", &[] as &[&str]), 0.0);
    }
}

//! The test data, under a seal that one place can open.

use std::fmt;

/// A value that cannot be looked at, but for its length, without a [`FinalEvaluator`].
///
/// It cannot be copied out,
/// ```compile_fail
/// let sealed = stepsynth_datasets::Sealed::new(vec![1]);
/// let copy = sealed.clone();
/// ```
/// nor used as the value it holds,
/// ```compile_fail
/// let sealed = stepsynth_datasets::Sealed::new(vec![1]);
/// let first = sealed[0];
/// ```
/// ```compile_fail
/// let sealed = stepsynth_datasets::Sealed::new(vec![1]);
/// for row in sealed.iter() {}
/// ```
/// nor opened empty-handed.
/// ```compile_fail
/// let sealed = stepsynth_datasets::Sealed::new(vec![1]);
/// sealed.open(&Default::default());
/// ```
/// With the evaluator it opens:
/// ```
/// let sealed = stepsynth_datasets::Sealed::new(vec![1]);
/// assert_eq!(sealed.len(), 1);
/// assert_eq!(format!("{sealed:?}"), "Sealed(..)");
/// assert_eq!(sealed.open(&stepsynth_datasets::FinalEvaluator::new()), &vec![1]);
/// ```
pub struct Sealed<T>(T);

impl<T> Sealed<T> {
    /// Seals a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the final evaluator.
    pub fn open(&self, _: &FinalEvaluator) -> &T {
        &self.0
    }
}

impl<T> Sealed<Vec<T>> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

/// The right to open what is sealed. One file of the harness, the final evaluator, names this type; a test sees to it.
pub struct FinalEvaluator(());

impl FinalEvaluator {
    /// Takes the right.
    #[expect(clippy::new_without_default, reason = "`Default::default()` would open seals without naming this type")]
    pub fn new() -> Self {
        Self(())
    }
}

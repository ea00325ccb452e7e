//! Runs chunks of work on the calling thread and, if there are more, on a pool.

use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};
use stepsynth_core::{Error, Result};

use super::Isa;

/// Elements in one chunk of an elementwise operation: a few microseconds of work, and three arrays of it fit the L2 cache.
pub(super) const CHUNK: usize = 8192;

/// Rows in one chunk of an operation over rows of `columns` elements.
pub(super) fn rows_per_chunk(columns: usize) -> usize {
    (CHUNK / columns.max(1)).max(1)
}

/// The threads of one backend.
pub(super) struct Workers {
    /// Helpers besides the calling thread; `None` if there are none.
    pool: Option<ThreadPool>,
    arch: pulp::Arch,
}

impl Workers {
    /// `threads` threads, with the vector instructions that go with the given ones of matrix products.
    pub(super) fn new(threads: usize, isa: Isa) -> Result<Self> {
        let failed = |message: String| Error::Device { device: "cpu".into(), message };
        let helpers = threads.checked_sub(1).ok_or_else(|| failed("needs at least one thread".into()))?;
        let build = || ThreadPoolBuilder::new().num_threads(helpers).thread_name(|index| format!("cpu-{index}")).build();
        let pool = (helpers > 0).then(build).transpose().map_err(|error| failed(error.to_string()))?;
        Ok(Self { pool, arch: arch(isa) })
    }

    pub(super) fn threads(&self) -> usize {
        1 + self.pool.as_ref().map_or(0, ThreadPool::current_num_threads)
    }

    /// Calls `work` once on every item, with the vector instructions.
    ///
    /// Items are handed out one at a time, so `work` must be worth a lock; the iterator must not depend on the number of
    /// threads. Mark the closure `#[inline(always)]`: only inlined code is compiled for the wide instructions.
    #[expect(clippy::redundant_closure, reason = "a closure can be marked as always inlined, a function passed by name cannot")]
    #[inline(always)]
    pub(super) fn run<T: Send>(&self, items: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
        let single = items.size_hint().1.is_some_and(|count| count <= 1);
        match &self.pool {
            Some(pool) if !single => {
                let queue = Mutex::new(items);
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let drain = || {
                    while let Some(item) = next() {
                        self.once(
                            item,
                            #[inline(always)]
                            |item| work(item),
                        );
                    }
                };
                pool.in_place_scope(|scope| {
                    for _ in 0..pool.current_num_threads() {
                        scope.spawn(|_| drain());
                    }
                    drain();
                });
            }
            _ => self.once(
                items,
                #[inline(always)]
                |items| {
                    // Not `for_each(&work)`: calls through a reference are not inlined for sure.
                    for item in items {
                        work(item);
                    }
                },
            ),
        }
    }

    /// Runs one piece of work on the calling thread with the vector instructions; for the closure's mark see [`run`](Self::run).
    #[inline(always)]
    pub(super) fn once<T, R>(&self, item: T, work: impl Fn(T) -> R) -> R {
        self.vectors().run(item, work)
    }

    /// The vector instructions.
    pub(super) fn vectors(&self) -> Vectors {
        Vectors(self.arch)
    }
}

/// The machine's vector instructions, but no wider ones than asked for.
fn arch(isa: Isa) -> pulp::Arch {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Portable => return pulp::Arch::Scalar,
        Isa::Avx2 => return pulp::x86::V3::try_new().map_or(pulp::Arch::Scalar, pulp::Arch::V3),
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => {}
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = isa;
    pulp::Arch::new()
}

/// The vector instructions in use.
#[derive(Clone, Copy)]
pub(super) struct Vectors(pulp::Arch);

impl Vectors {
    /// Runs a closure compiled for them. Mark it `#[inline(always)]`: only inlined code is.
    #[inline(always)]
    pub(super) fn run<T, R>(self, item: T, work: impl Fn(T) -> R) -> R {
        self.0.dispatch(Job { item, work })
    }
}

/// A closure with its argument. Handed over as such, a closure may be called through a function of its own, which is then not
/// compiled for the wide instructions.
struct Job<T, W> {
    item: T,
    work: W,
}

impl<T, R, W: Fn(T) -> R> pulp::NullaryFnOnce for Job<T, W> {
    type Output = R;

    #[inline(always)]
    fn call(self) -> R {
        (self.work)(self.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 4] {
            let workers = Workers::new(threads, Isa::Portable).unwrap();
            assert_eq!(workers.threads(), threads);
            let mut counts = vec![0; 1000];
            workers.run(counts.chunks_mut(7), |chunk| chunk.iter_mut().for_each(|count| *count += 1));
            assert!(counts.iter().all(|&count| count == 1));
        }
    }

    #[test]
    fn zero_threads_is_an_error() {
        assert!(matches!(Workers::new(0, Isa::Portable), Err(Error::Device { .. })));
    }
}

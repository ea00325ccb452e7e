//! What the teacher reads and what is made of its answers: templates, rendering, parsing and hygiene.

pub mod hygiene;
mod library;
mod list;
mod template;

pub use library::{Asks, Library};
pub use list::items;
pub use template::{Prompt, PromptError, Template};

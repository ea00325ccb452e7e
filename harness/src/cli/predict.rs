//! `stepsynth predict`: JSON lines in, JSON lines out, while input is still coming.

use std::io::{self, BufRead as _, BufReader, ErrorKind, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use stepsynth_core::config::Head;

use super::predict_line::{self as line, Asked};
use crate::experiment::settings::Precision;
use crate::failure::Failure;
use crate::student::{self, Device, Saved};

/// Lines that are predicted together, at most.
const MOST_LINES: usize = 256;

/// Estimated tokens that are predicted together, at most: a few inference batches, so that long texts are not kept waiting.
const MOST_TOKENS: usize = 8192;

/// Bytes of text to a token, for the estimate.
const BYTES_PER_TOKEN: usize = 4;

/// Lines that wait to be predicted: enough that reading and predicting do not wait for each other.
const WAITING: usize = 16;

/// A pipe that stops for so long is answered before it goes on.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Args)]
pub(super) struct PredictArguments {
    /// Directory of a trained model, or a model of the hub that is in the cache
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Tokens that texts are cut to, of a context those that one window holds [default: as in training, else all the model reads]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// auto (the CPU), cpu, cuda, cuda:N or reference
    #[arg(long, default_value = "auto")]
    device: Device,
    /// f32 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
}

pub(super) fn predict(arguments: &PredictArguments) -> Result<()> {
    let device = arguments.device.resolve();
    let saved = student::open(&arguments.model, device, arguments.precision, arguments.max_length)?;
    if io::stdin().is_terminal() {
        eprintln!("reading JSON lines from the terminal until Ctrl-D");
    }
    let (sender, lines) = sync_channel(WAITING);
    let head = saved.head;
    // Not joined: at an early end it may still wait for input.
    std::thread::spawn(move || read(head, &sender));
    // The last bits of a logit depend on what it is computed with, so a file is always cut into the same pieces.
    let pause = (!is_file()).then_some(PAUSE);
    stream(&saved, &lines, pause, &mut io::stdout().lock())
}

/// Whether stdin is a file, in which a pause means nothing.
#[cfg(unix)]
fn is_file() -> bool {
    use std::os::fd::AsFd as _;
    let file = io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(not(unix))]
fn is_file() -> bool {
    false
}

/// Sends every line of stdin until one is bad or nobody listens.
fn read(head: Head, sender: &SyncSender<Result<Asked, String>>) {
    let mut source = BufReader::new(io::stdin());
    // Some editors begin a file with a byte order mark.
    if source.fill_buf().is_ok_and(|start| start.starts_with(b"\xef\xbb\xbf")) {
        source.consume(3);
    }
    for number in 1_usize.. {
        let asked = match line::next_line(&mut source) {
            Ok(None) => return,
            Ok(Some(text)) => line::parse(&text, head),
            Err(why) => Err(why),
        };
        let bad = asked.is_err();
        if sender.send(asked.map_err(|why| format!("line {number} {why}"))).is_err() || bad {
            return;
        }
    }
}

/// Answers lines in their order until there are no more, one is bad, or nobody reads the answers.
fn stream(saved: &Saved, lines: &Receiver<Result<Asked, String>>, pause: Option<Duration>, out: &mut impl Write) -> Result<()> {
    let mut ended = None;
    while ended.is_none() {
        let mut asked: Vec<Asked> = Vec::new();
        let mut tokens = 0;
        while asked.len() < MOST_LINES && tokens < MOST_TOKENS {
            // The first may take its time; after it, a pause means that somebody may be waiting for an answer.
            let next = match pause {
                Some(pause) if !asked.is_empty() => lines.recv_timeout(pause).ok(),
                _ => lines.recv().ok(),
            };
            match next {
                Some(Ok(line)) => {
                    tokens += estimated_tokens(&line, saved);
                    asked.push(line);
                }
                Some(Err(why)) => {
                    ended = Some(Err(Failure::usage(format!("stdin: {why}"))));
                    break;
                }
                None if asked.is_empty() => {
                    ended = Some(Ok(()));
                    break;
                }
                None => break,
            }
        }
        match answer(saved, &asked, out) {
            Ok(()) => {}
            Err(error) if is_closed_pipe(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    ended.unwrap_or(Ok(()))
}

/// A text is cut to the model's length; a long context is read whole, in windows.
fn estimated_tokens(line: &Asked, saved: &Saved) -> usize {
    let tokens = (line.input.written().len() + line.input.context().map_or(0, str::len)) / BYTES_PER_TOKEN + 1;
    match saved.head {
        Head::Classification { .. } => tokens.min(saved.max_length),
        Head::QuestionAnswering => tokens,
    }
}

fn answer(saved: &Saved, asked: &[Asked], out: &mut impl Write) -> Result<()> {
    let inputs: Vec<_> = asked.iter().map(|line| line.input.clone()).collect();
    for (asked, prediction) in asked.iter().zip(saved.model.predict(&inputs, &|_, _| true)?) {
        let line = line::answer(asked, &prediction, &saved.labels).map_err(anyhow::Error::msg)?;
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

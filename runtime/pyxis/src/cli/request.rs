//! What the plugin asks for, in place of the arguments that people give: the one place where that is read.
//! It becomes the verb that arguments would make, and is run as such.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;

use handover::MISMATCH;
use handover::request::{ARGUMENT, MAX_REQUEST, Request};

use super::create::CreateArgs;
use super::descriptor::given;
use super::export::ExportArgs;
use super::images::PullArgs;
use super::import::{DigestArgs, ImportArgs};
use super::list::ListArgs;
use super::load::LoadArgs;
use super::push::PushArgs;
use super::remove::RemoveArgs;
use super::start::{Sockets, StartArgs};
use super::{CliError, Verb};

/// How the second argument of plugins began that were older than requests of this kind.
const OLD: [&str; 2] = ["--handover=", "--broker="];

/// The verb that the plugin asks for, if it is who has executed this.
pub(crate) fn asked_for() -> Option<Result<Verb, CliError>> {
    let words: Vec<_> = std::env::args_os().skip(1).take(3).collect();
    let word = |at: usize| words.get(at).and_then(|word| word.to_str());
    let (verb, argument) = (word(0)?, word(1)?);
    if OLD.iter().any(|old| argument.starts_with(old)) {
        return Some(Err(wrong(MISMATCH)));
    }
    let list = argument.strip_prefix(ARGUMENT).filter(|_| words.len() == 2)?;
    let numbers = list.split(',').map(str::parse).collect::<Result<Vec<RawFd>, _>>().ok()?;
    let (request, with) = numbers.split_first()?;
    Some(read(*request).and_then(|bytes| {
        let request = Request::parse(&bytes).map_err(CliError::Request)?;
        if request.verb() != verb {
            return Err(wrong("the plugin's request is for another verb"));
        }
        of(request, with)
    }))
}

/// The bytes of the request in descriptor `fd`.
fn read(fd: RawFd) -> Result<Vec<u8>, CliError> {
    let copy = given(fd)?.try_clone_to_owned();
    let file = File::from(copy.map_err(CliError::Request)?);
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    // From its beginning, wherever whoever has written it has left off; of a pipe, which would have
    // to be waited for, the kernel reads nothing this way.
    loop {
        let count = file.read_at(&mut part, bytes.len() as u64).map_err(CliError::Request)?;
        bytes.extend_from_slice(&part[..count]);
        if count == 0 {
            return Ok(bytes);
        }
        if bytes.len() as u64 > MAX_REQUEST {
            return Err(wrong("the plugin's request is too long"));
        }
    }
}

/// The verb that does it.
fn of(request: Request<'_>, with: &[RawFd]) -> Result<Verb, CliError> {
    let verb = match (request, with) {
        (Request::Start(start), [socket, step_socket, lender @ ..]) if lender.len() < 2 => {
            let sockets = Sockets {
                handover: given(*socket)?,
                step: given(*step_socket)?,
                lender: lender.first().copied().map(given).transpose()?,
            };
            Verb::Start(StartArgs::asked(start, sockets)?)
        }
        (Request::Pull { uri, digest }, broker @ ([] | [_])) => {
            let (uri, resolved) = (text(uri), digest.map(text));
            let broker = broker.first().copied().map(given).transpose()?;
            let (arch, policy, nodes, shared) = (None, None, None, false);
            Verb::Pull(PullArgs { arch, policy, resolved, nodes, shared, broker, uri })
        }
        (Request::Digest { uri }, []) => {
            Verb::Digest(DigestArgs { arch: None, index: true, before_step: true, uri: text(uri) })
        }
        (Request::Import { uri, file }, []) => {
            Verb::Import(ImportArgs { arch: None, output: Some(file.into()), uri: text(uri) })
        }
        (Request::Load { uri, name }, []) => {
            let (name, uri) = (Some(name.to_owned()), text(uri));
            Verb::Load(LoadArgs { arch: None, name, force: false, uri })
        }
        (Request::Create { file, name }, []) => {
            let (name, image) = (Some(name.to_owned()), file.into());
            Verb::Create(CreateArgs { name, force: false, or_found: false, image })
        }
        (Request::Ensure { file, name }, []) => {
            let (name, image) = (Some(name.to_owned()), file.into());
            Verb::Create(CreateArgs { name, force: false, or_found: true, image })
        }
        (Request::Export { name, to }, []) => {
            let (output, name) = (Some(to.into()), name.to_owned());
            Verb::Export(ExportArgs { output, force: true, name })
        }
        (Request::MayPush { uri }, []) => {
            Verb::Push(PushArgs { arch: None, may: Some(text(uri)), source: None, uri: None })
        }
        (Request::Remove { name }, []) => {
            Verb::Remove(RemoveArgs { force: true, names: vec![name.to_owned()] })
        }
        (Request::List, []) => Verb::List(ListArgs { fancy: false }),
        (Request::Processes, []) => Verb::List(ListArgs { fancy: true }),
        (Request::Discard { file }, []) => Verb::Discard(file.into()),
        _ => return Err(wrong("the plugin's request comes with other descriptors than it has to")),
    };
    Ok(verb)
}

fn wrong(problem: &str) -> CliError {
    CliError::Request(io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// What is text, or no name of an image.
fn text(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}
